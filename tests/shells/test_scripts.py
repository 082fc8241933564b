"""Scripts and locks: what is sent, what is sent again, and what the caller is told."""

from __future__ import annotations

import dataclasses

import pytest
import redis

from clustercache.exceptions import OutcomeUnknownError
from clustercache.testing import (
    FakeCluster,
    close_before_reply,
    error,
    integer,
    null,
    simple,
)

KEY = "bar"
SOURCE = "return redis.call('INCR', KEYS[1])"
NO_SCRIPT = error("NOSCRIPT No matching script. Please use EVAL.")
NOT_BUSY = error("NOTBUSY No scripts in execution right now.")


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


@pytest.fixture
def client(fake, shell):
    with shell.from_url(fake.url, deadline=3.0) as made:
        yield made


def names(node):
    return [c.name for c in node.commands if c.name in {"EVALSHA", "EVAL"}]


def test_a_node_that_lacks_a_script_is_given_it_once(client, owner):
    owner.on("EVALSHA", [NO_SCRIPT, integer(2)])
    owner.on("EVAL", integer(1))
    script = client.register_script(SOURCE)
    assert script(keys=[KEY]) == 1
    assert script(keys=[KEY], args=["x"]) == 2
    assert names(owner) == ["EVALSHA", "EVAL", "EVALSHA"]
    assert owner.received("EVALSHA")[1] == [b"EVALSHA", script.sha.encode(), b"1", b"bar", b"x"]


def test_a_script_is_not_repeated_unless_it_says_so(client, owner):
    owner.on("EVALSHA", [close_before_reply(), integer(1)])
    with pytest.raises(OutcomeUnknownError):
        client.register_script(SOURCE)(keys=[KEY])
    owner.on("EVALSHA", [close_before_reply(), integer(1)])
    assert client.register_script(SOURCE, repeatable=True)(keys=[KEY]) == 1


def test_any_call_can_say_that_it_may_be_repeated(client, owner):
    owner.on("INCR", [close_before_reply(), integer(1)])
    assert client.execute_command("INCR", KEY, repeatable=True) == 1


def test_what_is_repeatable_follows_the_policy(client, owner):
    owner.on("EVALSHA", [close_before_reply(), integer(1)])
    nothing = dataclasses.replace(client.config.retry, resend=frozenset())
    with client.retry(nothing), pytest.raises(OutcomeUnknownError):
        client.register_script(SOURCE, repeatable=True)(keys=[KEY])


def test_a_pipeline_sends_the_source(client, owner):
    owner.on("EVAL", integer(1))
    with client.pipeline() as pipe:
        client.register_script(SOURCE)(keys=[KEY], client=pipe)
        assert pipe.execute() == [1]


def test_durable_writes_can_be_scripts(client, owner):
    owner.on("EVALSHA", [close_before_reply(), integer(1)])
    owner.on("WAIT", integer(1))
    with client.durable() as d:
        assert d.register_script(SOURCE, repeatable=True)(keys=[KEY]) == 1
        assert d.acknowledged == 1


def test_scripts_are_loaded_on_every_primary(client, fake):
    for node in fake.nodes:
        node.on("SCRIPT LOAD", b"sha")
        node.on("FUNCTION LOAD", b"library")
    assert client.script_load(SOURCE) == "sha"
    assert client.function_load("#!lua name=library") == b"library"
    for name in ("SCRIPT LOAD", "FUNCTION LOAD"):
        assert all(node.received(name) for node in fake.primaries)
        assert not any(node.received(name) for node in fake.replicas)


def test_the_script_to_kill_runs_on_one_node_only(client, fake):
    first, second = fake.primaries
    first.on("SCRIPT KILL", NOT_BUSY)
    second.on("SCRIPT KILL", simple("OK"))
    assert client.script_kill()
    second.on("SCRIPT KILL", NOT_BUSY)
    with pytest.raises(redis.ResponseError, match="No scripts"):
        client.script_kill()


# ---------------------------------------------------------------------------------------- locks


def test_a_lock_whose_reply_was_lost_is_looked_for(client, owner):
    owner.on("SET", close_before_reply())
    owner.on("GET", b"mine")
    assert client.lock(KEY, timeout=5).acquire(blocking=False, token="mine")
    owner.on("GET", b"another's")
    assert not client.lock(KEY, timeout=5).acquire(blocking=False, token="mine")
    owner.on("GET", null())
    assert not client.lock(KEY, timeout=5).acquire(blocking=False, token="mine")


def test_a_release_whose_reply_was_lost_says_so(client, owner):
    lock = client.lock(KEY, timeout=5)
    assert lock.acquire()
    owner.on("EVALSHA", close_before_reply())
    with pytest.raises(OutcomeUnknownError):
        lock.release()


def test_a_reacquire_is_repeated(client, owner):
    lock = client.lock(KEY, timeout=5)
    assert lock.acquire()
    owner.on("EVALSHA", [close_before_reply(), integer(1)])
    assert lock.reacquire()


def test_locks_of_redis_py_keep_scripts_of_their_own(client):
    client.lock(KEY)
    assert redis.lock.Lock.lua_release is None
