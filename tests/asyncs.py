"""`AsyncCluster` for tests that were written for `Cluster`: what they prove of one holds of both.

`Blocking` runs what is asynchronous to its end, on a loop in a thread. A test takes the `shell`,
which is `Cluster` or `Blocking`, or `connect`, which is its `from_url`. In a module that says
``from tests.asyncs import both`` each test runs twice: the second time its name `Cluster` is
`Blocking`. A test that looks into the blocking client is marked `sync_only`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

import pytest

from clustercache import AsyncCluster, Cluster
from clustercache import config as configuration
from clustercache._async.pipeline import AsyncPipeline

_OURS = (
    "clustercache._async",
    "clustercache._nodes",
    "clustercache._scripts",
    "redis.asyncio",
    "redis.commands",
)
"""Whose objects have methods that have to be awaited."""

_PATIENCE = 60.0
"""Seconds that a call may take at the most."""

sync_only = pytest.mark.parametrize("shell", ["sync"], indirect=True)
"""For what only the blocking client has: threads, its own parts, interrupts."""


@pytest.fixture(params=["sync", "asyncio"])
def shell(request, monkeypatch):
    """A client's class."""
    if request.param == "sync":
        yield Cluster
        return
    with Bridge() as bridge:
        monkeypatch.setattr(Blocking, "_of_test", bridge)
        yield Blocking


@pytest.fixture
def connect(shell):
    """What makes a client of either shell."""
    return shell.from_url


@pytest.fixture(autouse=True)
def both(shell, request, monkeypatch):
    """Let the module's `Cluster` be either."""
    monkeypatch.setattr(request.module, "Cluster", shell)


class Bridge:
    """A loop in a thread; nothing may be left on it at the end."""

    def __enter__(self):
        self._problems, self._ready = [], threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._live(),), name="bridge")
        self._thread.start()
        self._ready.wait()
        return self

    async def _live(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _, context: self._problems.append(context))
        self._loop.set_default_executor(ThreadPoolExecutor(16))
        self._ready.set()
        await self._over.wait()
        limit = monotonic() + 1.0
        while len(asyncio.all_tasks()) > 1 and monotonic() < limit:
            await asyncio.sleep(0)  # what was cancelled ends in the next turn
        self._left = asyncio.all_tasks() - {asyncio.current_task()}

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()
        assert not self._left, f"still running: {self._left}"
        assert not self._problems, self._problems

    def run(self, function, *args, **kwargs):
        """Call something on the loop, in the caller's context, and wait for what comes of it."""
        bound = partial(function, *map(_bare, args), **{k: _bare(v) for k, v in kwargs.items()})
        if isinstance(getattr(function, "__self__", None), AsyncPipeline):
            result = bound()  # keeping a call takes no loop
            if not _is_coming(result):
                return self.wrapped(result)
            bound = partial(_itself, result)

        async def call():
            result = bound()
            return await result if _is_coming(result) else result

        return self.wrapped(asyncio.run_coroutine_threadsafe(call(), self._loop).result(_PATIENCE))

    def wrapped(self, value):
        """Return a value so that a test can use it; what needs the loop is reached through it."""
        kind = type(value)
        if kind in {list, tuple}:
            return kind(map(self.wrapped, value))
        ours = kind.__module__.startswith(_OURS) or hasattr(value, "redis_connection")
        asynchronous = any(hasattr(kind, name) for name in ("__aenter__", "__anext__", "__aiter__"))
        return Bridged(self, value) if ours or asynchronous else value


def _itself(value):
    return value


def _is_coming(result):
    """Tell a coroutine, say, from what may be awaited but need not be, such as a pipeline."""
    return inspect.isawaitable(result) and not hasattr(result, "__aenter__")


def _bare(value):
    """Return what may be in a bridge's end."""
    if type(value) in {list, tuple}:
        return type(value)(map(_bare, value))
    return value._value if isinstance(value, Bridged) else value


class Bridged:
    """Something that lives on a loop, used from outside."""

    def __init__(self, bridge, value):
        vars(self).update(_bridge=bridge, _value=value)

    def _run(self, function, *args, **kwargs):
        result = self._bridge.run(function, *args, **kwargs)
        return self if _bare(result) is self._value else result

    def __getattr__(self, name):
        if name == "close" and hasattr(self._value, "aclose"):
            name = "aclose"
        found = getattr(self._value, name)
        if name.startswith("__"):
            return found
        bridged = inspect.isroutine(found)
        return partial(self._run, found) if bridged else self._bridge.wrapped(found)

    def __setattr__(self, name, value):
        setattr(self._value, name, value)

    def __call__(self, *args, **kwargs):
        return self._run(self._value, *args, **kwargs)

    def __enter__(self):
        return self._run(self._value.__aenter__)

    def __exit__(self, *error):
        return self._run(self._value.__aexit__, *error)

    def __iter__(self):
        if hasattr(self._value, "__anext__"):
            return self
        if hasattr(self._value, "__aiter__"):
            return iter(self._bridge.wrapped(self._value.__aiter__()))
        return iter(self._value)

    def __next__(self):
        try:
            return self._run(self._value.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def __len__(self):
        return len(self._value)

    def __bool__(self):
        return bool(self._value)

    def __contains__(self, item):
        return item in self._value

    def __getitem__(self, item):
        return self._bridge.wrapped(self._value[item])

    def __eq__(self, other):
        return self._value == getattr(other, "_value", other)

    def __hash__(self):
        return hash(self._value)

    def __repr__(self):
        return repr(self._value)


class Blocking(Bridged):
    """An `AsyncCluster` that is used as a `Cluster` is."""

    _of_test = None
    """The bridge, while a test has this shell."""

    def __init__(self, config):
        super().__init__(self._of_test, AsyncCluster(config))

    @classmethod
    def from_url(cls, url, **options):
        return cls(configuration.from_url(url, **options))

    @property
    def _map(self):
        """The map of its loop."""
        return self._run(self._value._here).map

    def __getattr__(self, name):
        if name.startswith("get_"):  # what plain methods tell of the cluster has to be known
            self._run(self._value.initialize)
        return super().__getattr__(name)

    def transaction(self, func, *watches, **options):
        """Call `func` with a pipeline that is used as a blocking one is."""

        async def asked(pipe):
            return await asyncio.to_thread(func, Bridged(self._bridge, pipe))

        return self._run(self._value.transaction, asked, *watches, **options)
