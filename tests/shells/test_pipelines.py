"""What pipelines and transactions promise beside the scenario table."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache._queue import WINDOW
from clustercache.exceptions import (
    CrossSlotError,
    InvalidArgumentError,
    OvertakenError,
    PartialError,
    UnsupportedCommandError,
)
from clustercache.testing import FakeCluster, close_before_reply, error, null, simple

SECRET = "a-value-that-no-message-may-show"


@pytest.fixture(scope="module")
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def client(fake):
    with Cluster.from_url(fake.url, deadline=5.0) as made:
        yield made


def test_the_first_error_is_raised_with_its_calls_number_once_all_were_sent(fake, client):
    pipe = client.pipeline().set("bar", SECRET).incr("bar").incr("bar").set("foo", "1")
    with pytest.raises(redis.ResponseError, match=r"Command # 2 \(INCRBY\) of pipeline") as caught:
        pipe.execute()
    assert SECRET not in str(caught.value)
    assert client.get("foo") == b"1"


def test_a_wrong_call_is_refused_at_once_and_the_others_are_kept(client):
    pipe = client.pipeline().set("bar", "1")
    for wrong, kind in [
        (lambda: pipe.set("foo", None), redis.DataError),
        (lambda: pipe.get(object()), InvalidArgumentError),
        (lambda: pipe.execute_command("RENAME", "bar", "foo"), CrossSlotError),
        (lambda: pipe.execute_command("DBSIZE"), UnsupportedCommandError),
        (lambda: pipe.execute_command("SUBSCRIBE", "c"), UnsupportedCommandError),
        (lambda: pipe.execute_command("PING", target_nodes="all"), UnsupportedCommandError),
        (lambda: pipe.mget([]), InvalidArgumentError),
    ]:
        with pytest.raises(kind):
            wrong()
    assert len(pipe) == 1
    assert pipe.get("bar").execute() == [True, b"1"]


def test_an_executed_pipeline_is_empty_and_may_be_used_again(client):
    pipe = client.pipeline()
    assert pipe.execute() == []
    assert bool(pipe)
    assert pipe.set("bar", "1").execute() == [True]
    assert pipe.get("bar").execute() == [b"1"]
    with client.pipeline() as left:
        left.set("bar", "2")
    assert client.get("bar") == b"1", "what was not executed is forgotten"


def test_a_pipeline_shows_no_arguments(client):
    pipe = client.pipeline().set("bar", SECRET)
    assert repr(pipe) == "<Pipeline of 1 calls>"


def test_a_pipeline_longer_than_a_window_keeps_the_order(fake, client):
    client.delete("bar", "foo")
    pipe = client.pipeline()
    for number in range(WINDOW + 5):
        pipe.incr("bar" if number % 2 else "foo")
    pipe.mget("bar", "foo")
    *counts, last = pipe.execute()
    half = (WINDOW + 5) // 2
    assert counts[1::2] == list(range(1, half + 1))
    assert counts[::2] == list(range(1, half + 2))
    assert last == [str(half).encode(), str(half + 1).encode()]


def test_numbers_go_on_behind_the_first_window(client):
    pipe = client.pipeline()
    for _ in range(WINDOW):
        pipe.set("bar", "x")
    pipe.incr("bar")
    with pytest.raises(redis.ResponseError, match=f"Command # {WINDOW + 1} "):
        pipe.execute()


def test_results_are_those_of_the_methods(client):
    pipe = client.pipeline().hset("bar{1}", mapping={"a": 1}).hgetall("bar{1}")
    pipe.exists("n")
    pipe.mset({"bar": 1, "foo": 2}).mget("bar", "foo").delete("bar", "foo", "bar{1}")
    assert pipe.execute() == [1, {b"a": b"1"}, 0, True, [b"1", b"2"], 3]


def test_decoding_and_encodings_hold_in_pipelines(fake):
    options = {"decode_responses": True, "encoding": "latin-1"}
    with Cluster.from_url(fake.url, **options) as client:
        pipe = client.pipeline().set("k\xe9", "\xe9").get("k\xe9").delete("k\xe9")
        assert pipe.execute() == [True, "\xe9", 1]
        with client.pipeline(transaction=True) as tx:
            tx.set("k\xe9", "\xe9")
            assert len(tx) == 1


def test_threads_with_their_own_pipelines_do_not_disturb_each_other(client):
    client.delete("bar", "foo")

    def work(_):
        pipe = client.pipeline()
        for _ in range(50):
            pipe.incr("bar").incr("foo")
        return pipe.execute()

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(work, range(8)))
    seen = sorted(count for one in results for count in one[::2])
    assert seen == list(range(1, 401))


# ------------------------------------------------------------------------------ random redirects

KEYS = ["{bar}1", "{bar}2", "{foo}1", "{foo}2"]
CALLS = st.one_of(
    st.tuples(st.just("SET"), st.sampled_from(KEYS), st.integers(0, 9).map(str)),
    st.tuples(st.just("APPEND"), st.sampled_from(KEYS), st.sampled_from("abc")),
    st.tuples(st.just("GET"), st.sampled_from(KEYS)),
    st.tuples(st.just("DEL"), st.sampled_from(KEYS)),
    st.just(("MGET", "{bar}1", "{foo}2", "{bar}2")),
    st.just(("MSET", "{bar}1", "m", "{bar}2", "m")),
    st.just(("DEL", "{bar}1", "{foo}1")),
)


class Refusing:
    """Refuses what comes in at random, as a cluster in motion does; never for ever."""

    def __init__(self, fake, seed):
        self._fake = fake
        self._random = random.Random(seed)
        self._left = 12

    def answer(self, node):
        def decide(command, connection):
            if command.name in {"HELLO", "CLIENT", "CLUSTER", "ASKING", "PING"} or self._left <= 0:
                return node._default(command, connection)
            if self._random.random() < 0.6:
                return node._default(command, connection)
            self._left -= 1
            slot = key_slot(command[1].decode())
            other = next(one for one in self._fake.primaries if one is not node)
            text = self._random.choice(
                ["TRYAGAIN multiple keys", "CLUSTERDOWN Hash slot not served", "LOADING soon",
                 f"ASK {slot} {other.address}"]
            )  # fmt: skip
            return error(text)

        return decide


def apply(store, words):
    """What a single node without redirects answers."""
    name, *args = words
    if name == "SET":
        store[args[0]] = args[1].encode()
        return True
    if name == "APPEND":
        store[args[0]] = store.get(args[0], b"") + args[1].encode()
        return len(store[args[0]])
    if name == "GET":
        return store.get(args[0])
    if name == "DEL":
        return sum(store.pop(key, None) is not None for key in args)
    if name == "MGET":
        return [store.get(key) for key in args]
    for key, value in zip(args[::2], args[1::2], strict=True):
        store[key] = value.encode()
    return True


def apply_in_part(store, words, outcomes):
    for key, outcome in outcomes.items():
        if isinstance(outcome, OvertakenError):
            assert outcome.applied == "no"
            continue
        assert not isinstance(outcome, Exception), repr(outcome)
        name, *args = words
        apply(store, (name, key, *([args[args.index(key) + 1]] if name == "MSET" else ())))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=st.lists(CALLS, min_size=1, max_size=12), seed=st.integers(0, 10_000))
def test_random_pipelines_with_random_refusals_give_a_single_nodes_results(
    fake, client, calls, seed
):
    client.delete(*KEYS)
    refusing = Refusing(fake, seed)
    for node in fake.nodes:
        node.on("*", refusing.answer(node))
    try:
        pipe = client.pipeline()
        for words in calls:
            pipe.execute_command(*words)
        results = pipe.execute(raise_on_error=False)
    finally:
        for node in fake.nodes:
            node.off("*")
    store = {}
    for words, result in zip(calls, results, strict=True):
        if isinstance(result, OvertakenError):
            assert result.applied == "no"
            continue
        if isinstance(result, PartialError):
            apply_in_part(store, words, result.outcomes)
            continue
        assert not isinstance(result, Exception), repr(result)
        assert apply(store, words) == result
    assert client.mget(KEYS) == [store.get(key) for key in KEYS]


# ---------------------------------------------------------------------------------- transactions


def test_keys_of_a_transaction_share_a_slot_and_what_does_not_is_not_kept(client):
    pipe = client.pipeline(transaction=True).set("{a}1", "1")
    with pytest.raises(CrossSlotError, match="hash tag") as caught:
        pipe.set("b", SECRET)
    assert "slots 15495, 3300" in str(caught.value)
    with pytest.raises(CrossSlotError):
        pipe.mget("{a}1", "b")
    with pytest.raises(CrossSlotError):
        pipe.mget("c", "b")
    assert len(pipe) == 1
    with pytest.raises(InvalidArgumentError):
        pipe.watch("{a}1")


def queueing(node, exec_reply):
    node.on("WATCH", simple("OK"))
    node.on("MULTI", simple("OK"))
    node.on("EXEC", exec_reply)


@pytest.fixture
def watching():
    with FakeCluster(primaries=2) as fake, Cluster.from_url(fake.url, deadline=3.0) as client:
        client.set("bar", "1")
        node = fake.owner("bar")
        queueing(node, [["OK"]])
        node.on("UNWATCH", simple("OK"))
        with client.pipeline(transaction=True) as pipe:
            pipe.watch("bar")
            yield client, node, pipe


def leased(client):
    return sum(node["in_flight"] for node in client.stats()["nodes"].values())


def test_reads_between_watch_and_multi_go_out_at_once_on_the_connection_that_watches(watching):
    client, node, pipe = watching
    assert pipe.get("bar") == b"1"
    with pytest.raises(CrossSlotError):
        pipe.get("foo")
    (watch,) = node.received("WATCH")
    assert node.received("GET")[-1].connection_id == watch.connection_id
    pipe.multi()
    node.on("SET", simple("QUEUED"))
    assert pipe.set("bar", "2").execute() == [True]
    assert node.received("EXEC")[-1].connection_id == watch.connection_id
    assert leased(client) == 0
    assert not node.received("UNWATCH"), "EXEC forgot what was watched"


def test_a_changed_key_is_a_watch_error_and_the_connection_serves_on(watching):
    client, node, pipe = watching
    pipe.multi()
    node.on("SET", simple("QUEUED"))
    node.on("EXEC", null())
    with pytest.raises(redis.WatchError, match="changed"):
        pipe.set("bar", "2").execute()
    assert leased(client) == 0


@pytest.mark.parametrize(
    "answer",
    [error("MOVED 5061 127.0.0.1:1"), error("ASK 5061 127.0.0.1:1"), error("CLUSTERDOWN x"),
     close_before_reply()],
    ids=["MOVED", "ASK", "CLUSTERDOWN", "closed"],
)  # fmt: skip
def test_a_watch_that_is_lost_before_exec_is_a_watch_error(watching, answer):
    client, node, pipe = watching
    node.on("GET", [answer, b"1"])
    with pytest.raises(redis.WatchError, match="watch them again"):
        pipe.get("bar")
    assert leased(client) == 0


def test_leaving_without_exec_unwatches(watching):
    client, node, pipe = watching
    pipe.reset()
    node.wait_for(lambda: node.received("UNWATCH"))
    assert leased(client) == 0
    node.on("SET", simple("OK"))
    assert pipe.set("foo", "1") is pipe


def test_multi_and_watch_have_their_order(watching):
    _, _, pipe = watching
    pipe.multi()
    with pytest.raises(InvalidArgumentError, match="nested"):
        pipe.multi()
    with pytest.raises(InvalidArgumentError, match="before"):
        pipe.watch("bar")
    with pytest.raises(InvalidArgumentError, match="needs a key"):
        type(pipe)(pipe._client).watch()


def test_a_connection_that_watches_is_nobody_elses(watching):
    client, node, _ = watching
    (watch,) = node.received("WATCH")
    before = len(node.received("GET"))
    for _ in range(3):
        client.get("bar")
    assert all(one.connection_id != watch.connection_id for one in node.received("GET")[before:])


def test_a_transaction_is_tried_again_while_its_keys_change_until_the_deadline(watching):
    client, node, _ = watching
    node.on("SET", simple("QUEUED"))
    node.on("EXEC", [null(), null(), ["OK"]])
    calls = []

    def work(pipe):
        calls.append(pipe.get("bar"))
        pipe.multi()
        pipe.set("bar", "2")
        return "value"

    assert client.transaction(work, "bar", value_from_callable=True) == "value"
    assert len(calls) == 3
    node.on("EXEC", null())
    with pytest.raises(redis.WatchError), client.deadline(0.2):
        client.transaction(work, "bar", watch_delay=0.01)
    assert not [one for one in threading.enumerate() if one.name == "clustercache"]
