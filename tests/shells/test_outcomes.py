"""What errors say of a call that was applied in part, or may have been."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from clustercache._core.slots import key_slot
from clustercache.exceptions import (
    ClosedError,
    DeadlineExceededError,
    OutcomeUnknownError,
    PartialError,
    ReplyDecodeError,
    ReplyTooLargeError,
)
from clustercache.testing import (
    FakeCluster,
    close_before_reply,
    delay,
    error,
    raw,
    silence,
    simple,
)

FIRST, SECOND, OTHER = "{bar}1", "{bar}2", "foo"
OOM = error("OOM command not allowed when used memory > 'maxmemory'.")
SECRET = "a-value-that-no-message-may-show"


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def client(fake, shell):
    with shell.from_url(fake.url, deadline=0.5, socket_timeout=0.2) as made:
        made.mget("bar", "foo")
        yield made


def kinds(outcomes):
    """Each key's outcome: True, or the class of its exception."""
    return {key: type(o) if isinstance(o, Exception) else True for key, o in outcomes.items()}


def test_each_key_of_a_write_that_was_applied_in_part_has_its_outcome(fake, client):
    fake.owner(OTHER).on("MSET", OOM)
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, OTHER: SECRET, SECOND: SECRET})
    assert kinds(caught.value.outcomes) == {
        FIRST: True,
        SECOND: True,
        OTHER: redis.exceptions.OutOfMemoryError,
    }
    assert SECRET not in str(caught.value)
    assert OTHER not in str(caught.value).split("[")[0]
    assert client.get(FIRST) == SECRET.encode()


def test_a_half_that_is_dead_leaves_the_other_applied(fake, client):
    fake.fail(fake.owner(OTHER))
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, OTHER: SECRET})
    assert kinds(caught.value.outcomes) == {FIRST: True, OTHER: DeadlineExceededError}


def test_a_half_that_is_silent_may_be_applied(fake, client):
    fake.owner(OTHER).on("MSET", silence())
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, OTHER: SECRET})
    assert kinds(caught.value.outcomes) == {FIRST: True, OTHER: DeadlineExceededError}
    assert caught.value.outcomes[OTHER].applied == "maybe"


def test_where_all_parts_failed_the_one_that_may_be_applied_is_told(fake, client):
    fake.owner(FIRST).on("MSET", OOM)
    fake.owner(OTHER).on("MSET", silence())
    with pytest.raises(DeadlineExceededError) as caught:
        client.mset({FIRST: SECRET, OTHER: SECRET})
    assert caught.value.applied == "maybe"


def test_where_all_parts_failed_one_of_them_in_part_it_is_a_partial_error(fake, client):
    half_moved(fake)
    fake.owner(OTHER).on(f"MSET {OTHER}", OOM)
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, SECOND: SECRET, OTHER: SECRET})
    assert kinds(caught.value.outcomes)[FIRST] is True
    assert caught.value.applied == "maybe"


@pytest.mark.parametrize("keys", [("bar",), ("bar", "foo")], ids=["direct", "split"])
def test_a_reply_that_is_not_text_names_the_place_and_never_the_value(fake, keys, shell):
    node = fake.owner("bar")
    with shell.from_url(fake.url, decode_responses=True) as decoding:
        decoding.mset({"bar": SECRET.encode() + b"\xff", "foo": "1"})
        with pytest.raises(ReplyDecodeError) as caught:
            decoding.mget(*keys) if len(keys) > 1 else decoding.get(*keys)
        assert node.address in str(caught.value)
        assert SECRET not in repr((caught.value, caught.value.__context__))
        assert decoding.mget("foo", "foo") == ["1", "1"]
        assert sum(one["in_flight"] for one in decoding.stats()["nodes"].values()) == 0


@pytest.mark.parametrize("keys", [("bar",), ("bar", "foo")], ids=["direct", "split"])
def test_a_reply_that_is_too_large_is_not_read_and_its_connection_is_closed(fake, keys, shell):
    node = fake.owner("bar")
    with shell.from_url(fake.url, max_reply_bytes=65536) as sparing:
        sparing.mset({"bar": SECRET.encode().ljust(300_000), "foo": b"1" * 60_000})
        with pytest.raises(ReplyTooLargeError, match="max_reply_bytes") as caught:
            sparing.mget(*keys) if len(keys) > 1 else sparing.get(*keys)
        assert node.address in str(caught.value)
        assert caught.value.applied == "no"
        assert sparing.get("foo") == b"1" * 60_000
        node.on("INCR", raw(b"$300000\r\n" + b"x" * 200_000))
        with pytest.raises(ReplyTooLargeError) as caught:
            sparing.execute_command("INCR", "bar")
        assert caught.value.applied == "maybe"
        assert sum(one["in_flight"] for one in sparing.stats()["nodes"].values()) == 0


def test_a_delete_that_was_applied_in_part_is_a_partial_error(fake, client):
    fake.owner(OTHER).on("DEL", OOM)
    with pytest.raises(PartialError) as caught:
        client.delete(FIRST, OTHER)
    assert kinds(caught.value.outcomes)[FIRST] is True


def half_moved(fake):
    source, target = fake.owner(FIRST), fake.owner(OTHER)
    source.shard.store.data[FIRST.encode()] = b"old"
    fake.migrate(FIRST, target)
    target.on(f"MSET {SECOND}", OOM)


def test_each_key_of_a_half_moved_slot_has_its_own_outcome(fake, client):
    half_moved(fake)
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, SECOND: SECRET})
    expected = {FIRST: True, SECOND: redis.exceptions.OutOfMemoryError}
    assert kinds(caught.value.outcomes) == expected


def test_each_key_of_a_half_moved_slot_among_others_has_its_own_outcome(fake, client):
    half_moved(fake)
    with pytest.raises(PartialError) as caught:
        client.mset({FIRST: SECRET, SECOND: SECRET, OTHER: SECRET})
    expected = {FIRST: True, SECOND: redis.exceptions.OutOfMemoryError, OTHER: True}
    assert kinds(caught.value.outcomes) == expected


def test_a_call_that_ends_beside_the_table_says_that_it_may_be_applied(fake, shell):
    owner = fake.owner("bar")
    client = shell.from_url(fake.url)
    client.get("bar")
    owner.on("SET", delay(0.1, close_before_reply()))
    with ThreadPoolExecutor(1) as executor:
        call = executor.submit(client.set, "bar", SECRET)
        owner.wait_for(lambda: owner.received("SET"))
        client.close()
        problem = call.exception()
    assert isinstance(problem, ClosedError)
    assert problem.applied == "maybe"
    assert problem.attempts


@pytest.mark.parametrize("words", [("INCR", "bar"), ("SET", "bar", SECRET, "NX")])
def test_an_unknown_outcome_names_all_but_key_and_value(fake, client, words):
    owner = fake.owner("bar")
    owner.on(words[0], [error("LOADING x"), close_before_reply(), simple("OK")])
    with pytest.raises(OutcomeUnknownError) as caught:
        client.execute_command(*words)
    problem = caught.value
    assert (problem.command, problem.slot) == (words[0], key_slot("bar"))
    assert problem.node == owner.address
    assert problem.applied == "maybe"
    assert [owner.address in line for line in problem.attempts] == [True, True]
    assert "unready" in problem.attempts[0]
    assert "no reply" in problem.attempts[1]
    assert SECRET not in str(problem)
    assert len(owner.received(words[0])) == 2


@pytest.mark.parametrize("seconds", [0.1])
def test_attempts_tell_the_time_that_each_took(fake, client, seconds):
    owner = fake.owner("bar")
    owner.on("INCR", delay(seconds, close_before_reply()))
    with pytest.raises(OutcomeUnknownError) as caught:
        client.execute_command("INCR", "bar")
    took = float(caught.value.attempts[0].split()[-2])
    assert took >= seconds * 0.9
