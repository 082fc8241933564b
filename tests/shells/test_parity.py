"""What one shell has the other has: the same public names, with the same signatures.

A difference stands in a table, with its reason; so does what has to be awaited.
"""

from __future__ import annotations

import inspect
from contextlib import suppress

import pytest
from redis.commands import RedisClusterCommands

from clustercache import AsyncCluster, Cluster
from clustercache.testing import FakeCluster
from tests import loops

MAKERS = {
    "client": lambda r: r,
    "pipeline": lambda r: r.pipeline(),
    "transaction": lambda r: r.pipeline(transaction=True),
    "pubsub": lambda r: r.pubsub(),
    "durable": lambda r: r.durable(),
    "script": lambda r: r.register_script("return 1"),
    "lock": lambda r: r.lock("name"),
    "node": lambda r: r.get_nodes()[0],
    "node's commands": lambda r: r.get_nodes()[0].redis_connection,
}

NO_THREADS = "a task does what a thread does for the other"
ONLY_SYNC = {
    "script": {"get_encoder": "redis-py's asyncio script has none"},
    "pubsub": {
        "run_in_thread": NO_THREADS,
        "after_fork": "its lock is a thread's; what a loop has of it is the client's to drop",
    },
}
AWAITED = "as in redis-py, awaiting one gives the pipeline itself"
ONLY_ASYNC = {
    "pipeline": {"__await__": AWAITED},
    "transaction": {"__await__": AWAITED},
    "client": {"initialize": "plain methods that need the topology cannot wait for it"},
    "pubsub": {"run": NO_THREADS},
}
_OF_REDIS = {
    "json": "its default codecs are objects, other ones in redis-py's asyncio commands",
    "__contains__": "nothing can be awaited in it: the asyncio one refuses `in`",
}
DIFFERENT = {
    "client": _OF_REDIS,
    "durable": _OF_REDIS,
    "node's commands": _OF_REDIS,
    "lock": {"acquire": "redis-py's asyncio lock takes its pauses from the constructor alone"},
}
"""Names whose signatures differ, by pair, each with the reason."""

TRANSLATED = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
}
"""What asyncio's names for the same are called in the blocking shell."""

_PROTOCOLS = {
    *("__enter__", "__exit__", "__iter__", "__await__", "__call__", "__len__", "__bool__"),
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__aenter__", "__aexit__"),
    "__aiter__",
}


def surface(kind):
    """The public names of a class, and what makes it a context manager, an iterator, ..."""
    return {name for name in dir(kind) if not name.startswith("_")} | {
        name for name in _PROTOCOLS if any(name in one.__dict__ for one in kind.__mro__)
    }


@pytest.fixture(scope="module")
def pairs():
    """The classes that users meet, by what they are: (blocking, asyncio)."""

    async def looping(url):
        async with AsyncCluster.from_url(url) as r:
            await r.initialize()
            return {what: type(MAKERS[what](r)) for what in MAKERS}

    with FakeCluster(primaries=1) as fake:
        with Cluster.from_url(fake.url) as r:
            blocking = {what: type(MAKERS[what](r)) for what in MAKERS}
        other = loops.run(looping(fake.url))
    return {what: (blocking[what], other[what]) for what in MAKERS}


def parameters(kind, name):
    """The parameters of a method: names, kinds and defaults; None for what is no function."""
    found = inspect.getattr_static(kind, name)
    if not callable(getattr(kind, name)) or isinstance(found, property):
        return None
    signature = inspect.signature(getattr(kind, name))
    return [(one.name, one.kind, one.default) for one in signature.parameters.values()]


@pytest.mark.parametrize("what", MAKERS)
def test_both_shells_have_the_same_names(pairs, what):
    blocking, looping = map(surface, pairs[what])
    twins = {TRANSLATED.get(name, name): name for name in looping}
    assert len(twins) == len(looping)
    assert blocking - set(twins) == set(ONLY_SYNC.get(what, ()))
    assert set(twins) - blocking == set(ONLY_ASYNC.get(what, ()))


@pytest.mark.parametrize("what", MAKERS)
def test_both_shells_have_the_same_signatures(pairs, what):
    blocking, looping = pairs[what]
    names = {TRANSLATED.get(name, name): name for name in surface(looping)}
    different = {
        name
        for name in surface(blocking) & set(names)
        if parameters(blocking, name) != parameters(looping, names[name])
    }
    assert different == set(DIFFERENT.get(what, ()))


def test_every_difference_has_a_reason():
    for table in (ONLY_SYNC, ONLY_ASYNC, DIFFERENT):
        assert table.keys() <= MAKERS.keys()
        assert all(reason for names in table.values() for reason in names.values())


# What has to be awaited ----------------------------------------------------------------------

COROUTINES = {
    "client": {"aclose", "initialize", "reauthenticate", "transaction"},
    "pipeline": {"aclose", "execute"},
    "transaction": {"aclose", "execute"},
    "pubsub": {
        *("aclose", "ping", "run", "get_message", "get_sharded_message", "reset"),
        *("subscribe", "psubscribe", "ssubscribe", "keyspace", "keyevent"),
        *("unsubscribe", "punsubscribe", "sunsubscribe"),
    },
    "durable": {"execute_command"},
    "lock": {"acquire", "release", "locked", "owned", "do_acquire"}
    | {"do_release", "do_extend", "do_reacquire"},
}
ITERATORS = {
    "client": {"scan_iter", "sscan_iter", "hscan_iter", "zscan_iter"},
    "pubsub": {"listen"},
}
"""Async iterators: `async for`, without `await`."""

PLAIN = {
    "client": {
        *("from_url", "deadline", "retry", "read_from", "stats", "keyslot", "monitor"),
        *("pipeline", "pubsub", "durable", "register_script", "lock"),
        *("get_nodes", "get_primaries", "get_replicas", "get_node", "get_node_from_key"),
        *("get_default_node", "get_random_node", "get_random_primary_node"),
        *("get_redis_connection", "get_encoder", "get_connection_kwargs", "set_response_callback"),
    },
    "pipeline": {"execute_command"},
    # What these give is awaited, a script's but for a pipeline that keeps it.
    "script": {"__call__"},
    "lock": {"extend", "reacquire"},
}
"""What both shells answer at once; a pipeline's calls are kept, and it returns itself."""


def kind_of(owner, name):
    function = inspect.unwrap(getattr(owner, name))
    gives = str(getattr(function, "__annotations__", {}).get("return", ""))
    if inspect.isasyncgenfunction(function) or gives.startswith("AsyncIterator"):
        return "iterator"
    return "coroutine" if inspect.iscoroutinefunction(function) else "plain"


@pytest.mark.parametrize(
    ("table", "kind"), [(COROUTINES, "coroutine"), (ITERATORS, "iterator"), (PLAIN, "plain")]
)
def test_what_has_to_be_awaited_is_known(pairs, table, kind):
    for what in table:
        names, looping = table[what], pairs[what][1]
        assert {name: kind_of(looping, name) for name in names} == dict.fromkeys(names, kind)


@pytest.mark.parametrize("what", MAKERS)
def test_the_blocking_shell_has_nothing_to_await(pairs, what):
    blocking = pairs[what][0]
    methods = [name for name in surface(blocking) if callable(getattr(blocking, name))]
    assert {name for name in methods if kind_of(blocking, name) != "plain"} == set()


# Commands ------------------------------------------------------------------------------------

OURS = {name for table in (COROUTINES, ITERATORS, PLAIN) for name in table["client"]} - {"lock"}
COMMANDS = sorted(
    name
    for name in dir(RedisClusterCommands)
    if not name.startswith("_") and callable(getattr(RedisClusterCommands, name))
)


class BlockingRecorder(Cluster):
    def execute_command(self, *args, **options):
        self.sent.append((args, options))


class LoopingRecorder(AsyncCluster):
    async def execute_command(self, *args, **options):
        self.sent.append((args, options))


def recorder(kind):
    made = kind.from_url("redis://127.0.0.1:1")
    made.sent = []
    return made


def samples(method):
    """An argument for each parameter that needs one."""
    given = {"mapping": {"a": "1"}, "keys": ["a"], "names": ["a"], "items": {"a": 1.0}}
    needed = [
        one.name
        for one in inspect.signature(method).parameters.values()
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    return [given.get(name, 1) for name in needed]


def ended(call):
    """What a call came to, but for its result: that is the server's."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - both are compared
        return type(error), str(error)
    return None


async def sent_by_looping(name):
    client = recorder(LoopingRecorder)

    def call():
        made = getattr(client, name)(*samples(getattr(client, name)))
        if inspect.iscoroutine(made):
            with suppress(StopIteration):
                made.send(None)

    outcome = ended(call)
    await client.aclose()
    return outcome, client.sent


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in OURS])
def test_both_shells_send_the_same_words(name):
    blocking = recorder(BlockingRecorder)
    outcome = ended(lambda: getattr(blocking, name)(*samples(getattr(blocking, name))))
    assert (outcome, blocking.sent) == loops.run(sent_by_looping(name), collect=False)
    blocking.close()
