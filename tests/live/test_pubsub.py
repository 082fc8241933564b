"""Pub/sub on real servers: as redis-py's cluster client has it, and from all primaries."""

from __future__ import annotations

import uuid
from time import monotonic

import pytest
import redis

from clustercache._core.slots import key_slot
from clustercache.exceptions import UnsupportedCommandError
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server, need_tls

pytestmark = pytest.mark.live
KEYSPACE = {"notify-keyspace-events": "KEA"}


@pytest.fixture(scope="module", params=["valkey", "redis-7.0"])
def lc(request):
    with LocalCluster(server=need_server(request.param).path, config=KEYSPACE) as made:
        yield made


@pytest.fixture(params=[2, 3, None])
def protocol(request):
    return request.param


@pytest.fixture
def client(connect, lc, protocol):
    with connect(lc.url, protocol=protocol) as made:
        yield made


@pytest.fixture
def tag():
    """A name that no other test has: the bus may bring its messages late."""
    return uuid.uuid4().hex


def await_message(get, timeout=5.0):
    """The next message, from whichever client's `get_message`."""
    limit = monotonic() + timeout
    while (message := get(timeout=0.1)) is None:
        assert monotonic() < limit, "no message came"
    return message


def messages(ps, count):
    return [await_message(ps.get_message) for _ in range(count)]


def on_each_primary(client):
    """A key for each primary."""
    client.get("key0")
    keys = [f"key{number}" for number in range(100)]
    slots = client._map.slots  # once: of the asyncio client each is wrapped anew
    found = {slots[key_slot(key)].address: key for key in keys}
    assert len(found) == len(client._map.topology.shards)
    return list(found.values())


def test_channels_and_patterns(client, tag):
    a, b = f"a{tag}", f"b{tag}"
    with client.pubsub() as ps:
        ps.subscribe(a, b)
        ps.psubscribe(f"{a}*")
        client.publish(a, "1")
        client.publish(b, "2")
        found = messages(ps, 6)
        assert [one["type"] for one in found[:3]] == ["subscribe", "subscribe", "psubscribe"]
        assert [one["data"] for one in found[:3]] == [1, 2, 3]
        got = {(one["type"], one["channel"], one["data"]) for one in found[3:]}
        assert got == {
            ("message", a.encode(), b"1"),
            ("pmessage", a.encode(), b"1"),
            ("message", b.encode(), b"2"),
        }


def test_shard_channels_in_all_slots(client):
    names = [f"shard{number}" for number in range(60)]
    with client.pubsub(ignore_subscribe_messages=True) as ps:
        ps.ssubscribe(*names)
        for _ in names:
            assert ps.get_message() is None  # the confirmations, which have come already
        assert [client.spublish(name, name) for name in names] == [1] * len(names)
        found = messages(ps, len(names))
        assert {one["channel"].decode() for one in found} == set(names)
        assert all(one["channel"] == one["data"] for one in found)


def test_keyspace_notifications_come_from_all_primaries(client, lc):
    keys = on_each_primary(client)
    assert len(keys) == len(lc.primaries)
    with client.pubsub() as ps:
        ps.keyspace("key*")
        ps.keyevent("del")
        messages(ps, 2)
        for key in keys:
            client.set(key, "v")
        found = messages(ps, len(keys))
        assert {one["channel"] for one in found} == {f"__keyspace@0__:{k}".encode() for k in keys}
        assert {one["data"] for one in found} == {b"set"}
        for key in keys:
            client.delete(key)
        found = messages(ps, 2 * len(keys))
        events = [one for one in found if one["channel"] == b"__keyevent@0__:del"]
        assert {one["data"].decode() for one in events} == set(keys)


def test_a_pattern_of_both_gets_each_message_once(client, tag):
    keys = on_each_primary(client)
    with client.pubsub() as ps:
        ps.psubscribe("__key*__:*")
        messages(ps, 1)
        client.publish("__keyboard__:x", tag)
        for key in keys:
            client.set(key, "v")
        found = messages(ps, 2 * len(keys) + 1)
        found += iter(lambda: ps.get_message(timeout=0.1), None)
        assert sum(one["data"] == tag.encode() for one in found) == 1


@pytest.mark.parametrize("decode", [False, True])
def test_messages_are_redis_pys(connect, lc, protocol, decode):
    options = {"decode_responses": decode, "protocol": protocol}
    with connect(lc.url, **options) as ours:
        theirs = redis.RedisCluster.from_url(
            f"redis://{lc.nodes[0].address}", **{k: v for k, v in options.items() if v is not None}
        )
        with theirs:
            expected = conversation(theirs, theirs.pubsub(), uuid.uuid4().hex)
            assert conversation(ours, ours.pubsub(), uuid.uuid4().hex) == expected


def conversation(client, ps, tag):
    """What one gets to see, from subscribing to unsubscribing, at whichever client."""
    found = []
    hash_tag = "{x" + tag + "}"

    def say(action, *args, get=None):
        action(*args)
        found.append(await_message(get or ps.get_message))

    with ps:
        say(ps.subscribe, hash_tag + "news")
        say(ps.subscribe, hash_tag + "other")
        say(ps.psubscribe, hash_tag + "o*")
        say(client.publish, hash_tag + "news", "1")
        say(client.publish, hash_tag + "other", b"\xc3\xa4")
        found.append(await_message(ps.get_message))
        say(ps.unsubscribe, hash_tag + "news")
        say(ps.unsubscribe, hash_tag + "never")
        say(ps.punsubscribe)
        say(ps.unsubscribe)
        say(ps.ssubscribe, hash_tag + "shard", get=ps.get_sharded_message)
        say(ps.ssubscribe, hash_tag + "more", get=ps.get_sharded_message)
        say(client.spublish, hash_tag + "shard", "2", get=ps.get_sharded_message)
        say(ps.sunsubscribe, hash_tag + "shard", get=ps.get_sharded_message)
        say(ps.sunsubscribe, hash_tag + "more", get=ps.get_sharded_message)
        assert not ps.subscribed
    return repr(found).replace(tag, "")


def test_what_subscribes_is_refused_through_execute_command(client):
    for word in ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"):
        with pytest.raises(UnsupportedCommandError, match="pubsub"):
            client.execute_command(word, "a")


def test_publishing_reaches_subscribers_on_every_node(client, tag):
    with client.pubsub() as one, client.pubsub() as other:
        for ps in (one, other):
            ps.subscribe(tag)
            messages(ps, 1)
        client.publish(tag, "hello")
        assert [messages(ps, 1)[0]["data"] for ps in (one, other)] == [b"hello"] * 2


def test_pubsub_over_tls(connect):
    config = {"tls": True, "primaries": 3, "replicas": 0, "config": KEYSPACE}
    with (
        LocalCluster(server=need_tls().path, **config) as made,
        connect(made.url) as client,
    ):
        keys = on_each_primary(client)
        with client.pubsub() as ps:
            ps.keyspace()
            ps.ssubscribe("shard")
            messages(ps, 2)
            client.spublish("shard", "x" * 100_000)
            assert len(messages(ps, 1)[0]["data"]) == 100_000
            for key in keys:
                client.set(key, "v")
            assert len({one["channel"] for one in messages(ps, len(keys))}) == len(keys)


def test_a_server_without_shard_channels_says_so(connect):
    server = need_server("redis-6.2").path
    with (
        LocalCluster(server=server, replicas=0) as made,
        connect(made.url) as client,
        client.pubsub() as ps,
    ):
        with pytest.raises(redis.ResponseError, match=r"(?i)unknown command"):
            ps.ssubscribe("a")
        ps.subscribe("a")
        client.publish("a", "1")
        assert [one["type"] for one in messages(ps, 2)] == ["subscribe", "message"]
