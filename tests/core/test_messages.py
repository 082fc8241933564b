"""What is subscribed to, and what comes of it, in redis-py's terms."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clustercache._core.messages import (
    Event,
    Kind,
    Subscription,
    is_everywhere,
    keyspace_pattern,
    named,
    shaped,
)


@pytest.mark.parametrize(
    ("name", "everywhere"),
    [
        (b"__keyspace@0__:*", True),
        (b"__keyevent@*__:expired", True),
        (b"__key*__:*", True),
        (b"__keys[p]ace@0__:k", True),
        (b"__keyspace@0__:plain", True),
        (b"__key", True),
        (b"__keyboard*", False),
        (b"*", False),
        (b"__*", False),
        (b"news", False),
    ],
)
def test_a_pattern_that_begins_as_keyspace_notifications_do_belongs_everywhere(name, everywhere):
    assert is_everywhere(Subscription(Kind.PATTERN, name)) is everywhere
    assert not is_everywhere(Subscription(Kind.SHARD, name))


def test_a_channel_belongs_everywhere_if_it_is_one_of_keyspace_notifications():
    assert is_everywhere(Subscription(Kind.CHANNEL, b"__keyevent@0__:expired"))
    assert not is_everywhere(Subscription(Kind.CHANNEL, b"__key*__:*"))


def test_keyspace_patterns_are_spelt_as_servers_spell_them():
    assert keyspace_pattern("keyspace", "user:*", 0, "utf-8") == b"__keyspace@0__:user:*"
    assert keyspace_pattern("keyevent", b"expired", 3, "utf-8") == b"__keyevent@3__:expired"


def test_names_are_taken_as_redis_py_takes_them():
    one = SimpleNamespace(name="c", handler=len)
    found = named(("a", b"b", one), {"d": print}, "utf-8", "strict")
    assert found == {b"a": None, b"b": None, b"c": len, b"d": print}
    assert named((["a", "b"], "c"), {}, "utf-8", "strict") == dict.fromkeys([b"a", b"b", b"c"])
    assert named((), {}, "utf-8", "strict") == {}


def test_a_message_has_redis_pys_fields():
    event = Event("pmessage", b"\xc3\xa4", b"1", b"*")
    raw = {"type": "pmessage", "pattern": b"*", "channel": b"\xc3\xa4", "data": b"1"}
    assert shaped(event, None) == raw
    text = {"type": "pmessage", "pattern": "*", "channel": "ä", "data": "1"}
    assert shaped(event, ("utf-8", "strict")) == text
    assert shaped(Event("subscribe", b"c", 2), ("utf-8", "strict"))["data"] == 2
