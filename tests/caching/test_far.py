"""What the scripts answer at each real server is what the table says, and so does `Memory`."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, RedisError, ResponseError

from clustercache import Cluster
from clustercache.caching.calls import PLAIN, Call
from clustercache.caching.memory import Memory
from clustercache.caching.scripts import SCRIPTS
from clustercache.localcluster import LocalCluster
from tests.caching import far_calls as far
from tests.caching.far_table import STORIES
from tests.clusters import need_server

live = pytest.mark.live

tokens = st.sampled_from([far.ONE, far.TWO])
stored = st.sampled_from(
    [b"", far.OLD, far.NEW, far.integer(5), far.integer(far.LARGEST), far.PAST]
)
over = st.builds(far.lease_over, tokens, stored)
seens = st.just("") | stored.map(far.seen)
lives = st.sampled_from([60_000, 200_000])
lasting = st.just("") | lives
others = st.sampled_from(["", 90_000, 350_000])  # which of two is longer is no matter of a moment
calls = st.one_of(
    st.builds(far.put, stored | over, st.none() | lives),
    st.builds(far.take, tokens, lives, was=seens),
    st.builds(far.take, tokens, lives, was=seens, force=st.sampled_from([0, 1])),
    st.builds(far.fill, tokens, stored, lasting),
    st.builds(far.renew, tokens, lives),
    st.builds(far.release, tokens),
    st.builds(far.swap, seens, stored, lasting),
    st.builds(far.token, tokens, others),
    st.builds(far.incr, st.sampled_from([1, -3, -far.LARGEST]), tokens),
    st.just(far.unlink()),
)


@pytest.fixture(scope="module", params=["cluster", "valkey", "redis-6.2", "redis-7.0"])
def client(request):
    if request.param == "cluster":
        with Cluster.from_url(request.getfixturevalue("cluster").url) as client:
            yield client
        return
    server = need_server(request.param)
    with LocalCluster.standalone(server=server.path) as made, Cluster.from_url(made.url) as client:
        yield client


@pytest.fixture
def prefix():
    return uuid4().hex


def answer(client, call):
    """Return a server's reply, or its error."""
    try:
        try:
            return client.execute_command(*call.words)
        except NoScriptError:
            return client.execute_command(*call.in_full)
    except RedisError as error:
        return error


def at(prefix, call):
    return call._replace(key=f"{prefix}:{call.key}")


@live
@pytest.mark.parametrize("name", STORIES)
def test_a_server_answers_as_the_table_says(client, prefix, name):
    for call, expected in STORIES[name]:
        assert expected == answer(client, at(prefix, call)), call


@pytest.mark.parametrize("name", STORIES)
def test_memory_answers_as_the_table_says(name):
    memory, story = Memory(), STORIES[name]
    replies = memory.ask([call for call, _ in story])
    for (call, expected), reply in zip(story, replies, strict=True):
        assert expected == reply, call


@live
@pytest.mark.parametrize("op", SCRIPTS)
def test_a_key_of_another_type_is_an_error_and_stays(client, prefix, op):
    args = {
        "take": (far.ONE, 1000, "", 1),
        "fill": (far.ONE, b"new", ""),
        "renew": (far.ONE, 1000),
        "release": (far.ONE,),
        "swap": ("", b"new", ""),
        "token": (far.ONE, ""),
        "incr": (far.ONE, 1),
    }[op]
    client.rpush(prefix, "kept")
    reply = answer(client, Call(op, prefix, args))
    assert isinstance(reply, ResponseError)
    assert str(reply).startswith(("WRONGTYPE", "Operation against a key holding the wrong kind"))
    assert client.lrange(prefix, 0, -1) == [b"kept"]


@live
def test_a_lease_on_nothing_ends_with_its_time(client, prefix):
    assert answer(client, Call("take", prefix, (far.ONE, 1, "", 0))) == [1]
    while answer(client, Call("get", prefix)) is not None:
        pass
    assert answer(client, Call("fill", prefix, (far.ONE, b"late", ""))) == 0


@live
def test_a_token_that_lives_long_enough_is_not_written(client, prefix):
    call, until = Call("token", prefix, (far.ONE, 60_000)), 119_990
    answer(client, call)
    while answer(client, Call("ttl", prefix)) > until:
        pass
    assert answer(client, call) == far.ONE
    assert answer(client, Call("ttl", prefix)) <= until


@limits(max_examples=60)
@given(story=st.lists(calls, min_size=1, max_size=12))
def test_every_sequence_of_calls_is_answered_alike(client, story):
    memory, prefix = Memory(), uuid4().hex
    for call in story:
        there, (here,) = answer(client, at(prefix, call)), memory.ask([call])
        assert _alike(there, here), (call, there, here)
        stored = (answer(client, at(prefix, far.get())), *memory.ask([far.get()]))
        assert _alike(*stored), (call, stored)
        lives = (answer(client, at(prefix, far.ttl())), *memory.ask([far.ttl()]))
        assert _alike(*lives), (call, lives)


def _untimed(data):
    """Return what is stored without when its lease ends, which is over or far away."""
    leased = data is not None and data.startswith(b"\xccL") and len(data) >= 31
    return (data[:18], data[18:31] == far.PAST, data[31:]) if leased else data


def _alike(there, here):
    """Tell whether two answers are the same, but for the clock."""
    if isinstance(there, list):
        return len(there) == len(here) and all(map(_alike, there, here))
    if isinstance(there, int):
        return there == here if min(there, here) < 1000 else abs(there - here) < 30_000
    if isinstance(there, ResponseError):
        return str(here) in str(there)
    return _untimed(there) == _untimed(here)


def test_a_call_is_one_command_about_its_key():
    assert Call("get", "k").words == ("GET", "k")
    assert Call("set", "k", (b"v", None)).words == ("SET", "k", b"v")
    assert Call("set", "k", (b"v", 5)).words == ("SET", "k", b"v", "PX", 5)
    assert Call("unlink", "k").words == ("UNLINK", "k")
    assert Call("ttl", "k").words == ("PTTL", "k")
    taken = Call("take", "k", (far.ONE, 5, "", 0))
    assert taken.words == ("EvalSha", SCRIPTS["take"].sha, 1, "k", far.ONE, 5, "", 0)
    assert taken.in_full == ("EVAL", SCRIPTS["take"].source, 1, "k", far.ONE, 5, "", 0)


def test_a_script_is_sent_again_only_where_that_changes_nothing():
    again = {op for op in (*SCRIPTS, *PLAIN) if Call(op, "k").repeatable}
    assert again == {"take", "fill", "renew", "release"}
