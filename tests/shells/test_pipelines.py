"""What pipelines and transactions promise beside the scenario table."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustercache._core.slots import key_slot
from clustercache._queue import WINDOW
from clustercache.exceptions import (
    CrossSlotError,
    InvalidArgumentError,
    OvertakenError,
    PartialError,
    UnsupportedCommandError,
)
from clustercache.testing import FakeCluster, error

SECRET = "a-value-that-no-message-may-show"


@pytest.fixture(scope="module")
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def client(fake, shell):
    with shell.from_url(fake.url, deadline=5.0) as made:
        yield made


def test_the_first_error_is_raised_with_its_calls_number_once_all_were_sent(fake, client):
    pipe = client.pipeline().set("bar", SECRET).incr("bar").incr("bar").set("foo", "1")
    with pytest.raises(redis.ResponseError, match=r"Command # 2 \(INCRBY\) of pipeline") as caught:
        pipe.execute()
    assert SECRET not in str(caught.value)
    assert client.get("foo") == b"1"


def test_a_wrong_call_is_refused_at_once_and_the_others_are_kept(client):
    assert client.exists("bar") in {0, 1}, "how many shards there are is known"
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
    assert re.fullmatch(r"<\w*Pipeline of 1 calls>", repr(pipe))


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


def test_decoding_and_encodings_hold_in_pipelines(fake, shell):
    options = {"decode_responses": True, "encoding": "latin-1"}
    with shell.from_url(fake.url, **options) as client:
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
