"""Pub/sub as its users see it: redis-py's, with nothing left behind."""

from __future__ import annotations

import gc
import inspect
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest
import redis

from clustercache import Cluster
from clustercache._sync.pubsub import PubSub
from clustercache.exceptions import ClosedError, ReplyDecodeError
from clustercache.testing import FakeCluster
from tests.shells.subscribers import KINDS, Broker, drain, message, messages, types


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def broker(fake):
    return Broker(fake)


@pytest.fixture
def client(connect, fake):
    with connect(fake.url, socket_timeout=0.3, deadline=5.0) as made:
        yield made


# ------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize("protocol", [2, 3, None])
def test_messages_are_the_same_on_either_protocol(connect, fake, broker, protocol):
    with connect(fake.url, protocol=protocol) as client, client.pubsub() as ps:
        ps.subscribe("a")
        ps.psubscribe("a*")
        ps.ssubscribe("foo")
        broker.send("", b"a", b"1")
        broker.send("p", b"a*", b"ab", b"2")
        broker.send("s", b"foo", b"3")
        found = messages(ps, 6)
        assert found[:3] == [
            message("subscribe", None, b"a", 1),
            message("psubscribe", None, b"a*", 2),
            message("ssubscribe", None, b"foo", 1),
        ]
        assert sorted(found[3:], key=lambda one: one["data"]) == [
            message("message", None, b"a", b"1"),
            message("pmessage", b"a*", b"ab", b"2"),
            message("smessage", None, b"foo", b"3"),
        ]
        ps.ping()
        assert messages(ps, 1) == [message("pong", None, None, b"")]
        ps.ping("hi")
        assert messages(ps, 1) == [message("pong", None, None, b"hi")]
        ps.unsubscribe("a")
        ps.punsubscribe()
        assert messages(ps, 2) == [
            message("unsubscribe", None, b"a", 1),
            message("punsubscribe", None, b"a*", 0),
        ]
        ps.sunsubscribe()
        assert list(ps) == [message("sunsubscribe", None, b"foo", 0)]
        assert not ps.subscribed


def test_strings_are_decoded_where_the_client_decodes(connect, fake, broker):
    with connect(fake.url, decode_responses=True) as client, client.pubsub() as ps:
        ps.psubscribe("ä*")
        broker.send("p", "ä*".encode(), "äb".encode(), b"1")
        assert messages(ps, 2)[1] == message("pmessage", "ä*", "äb", "1")
        assert ps.patterns == {"ä*": None}


def test_a_message_that_is_no_text_is_told_without_its_bytes(connect, fake, broker):
    with connect(fake.url, decode_responses=True) as client, client.pubsub() as ps:
        ps.subscribe("a")
        broker.send("", b"a", b"secret\xff")
        broker.send("", b"a", b"text")
        assert types(ps, 1) == ["subscribe"]
        with pytest.raises(ReplyDecodeError) as caught:
            messages(ps, 1)
        assert "secret" not in str(caught.value)
        assert messages(ps, 1) == [message("message", None, "a", "text")]


def test_subscriptions_keep_their_client_alive(fake, broker):
    ps = Cluster.from_url(fake.url).pubsub()
    gc.collect()
    ps.ssubscribe("foo")
    fake.owner("foo").drop_connections()
    assert types(ps, 3) == ["ssubscribe", "gap", "gap"]
    fake.move("foo", fake.owner("bar"))
    broker.evict(b"foo")
    assert types(ps, 2) == ["gap", "gap"]
    assert not ps._map.helper.stopping
    ps._owner.close()


def test_handlers_take_the_messages(client, broker):
    seen = []
    with client.pubsub(ignore_subscribe_messages=True) as ps:
        ps.subscribe(a=seen.append)
        ps.ssubscribe(foo=seen.append)
        assert (ps.channels, ps.shard_channels) == ({b"a": seen.append}, {b"foo": seen.append})
        broker.send("", b"a", b"1")
        broker.send("s", b"foo", b"2")
        drain(ps, lambda: len(seen) == 2)
        assert {one["data"] for one in seen} == {b"1", b"2"}


def test_confirmations_are_kept_back_where_asked(client, broker):
    with client.pubsub() as ps:
        ps.subscribe("a")
        assert ps.get_message(ignore_subscribe_messages=True, timeout=1.0) is None
        broker.send("", b"a", b"1")
        assert ps.get_message(ignore_subscribe_messages=True, timeout=1.0)["data"] == b"1"


def test_keyspace_notifications_come_from_every_primary(client, broker, fake):
    with client.pubsub(ignore_subscribe_messages=True) as ps:
        ps.keyspace("user:*")
        name = b"__keyspace@0__:user:*"
        assert set(broker.nodes_with("p", name)) == set(fake.primaries)
        for number, node in enumerate(fake.primaries):
            broker.send("p", name, b"__keyspace@0__:user:%d" % number, b"set", node=node)
        assert {one["channel"] for one in messages(ps, 2)} == {
            b"__keyspace@0__:user:0",
            b"__keyspace@0__:user:1",
        }


def test_key_events_are_spelt_as_servers_spell_them(client, broker, fake):
    with client.pubsub() as ps:
        ps.keyevent("expired", "del", db=0)
        assert list(ps.patterns) == [b"__keyevent@0__:expired", b"__keyevent@0__:del"]
        assert len(broker.nodes_with("p", b"__keyevent@0__:del")) == len(fake.primaries)


def test_what_the_bus_carries_everywhere_comes_once(client, broker):
    with client.pubsub() as ps:
        ps.psubscribe("__key*__:*")
        broker.send("p", b"__key*__:*", b"__keyboard__:x", b"1")
        broker.send("p", b"__key*__:*", b"__keyspace@0__:x", b"2")
        found = messages(ps, 4)
        assert sorted(one["data"] for one in found[1:]) == [b"1", b"2", b"2"]


# ---------------------------------------------------------------------------- threads and the end


def test_without_a_subscription_there_is_nothing_to_wait_for_but_one(client, broker):
    with client.pubsub() as ps:
        assert ps.get_message() is None
        began = monotonic()
        assert ps.get_message(timeout=0.1) is None
        assert monotonic() - began >= 0.1
        assert list(ps.listen()) == []
        with ThreadPoolExecutor(1) as executor:
            waiting = executor.submit(ps.get_message, timeout=None)
            ps.subscribe("a")
            assert waiting.result(5)["type"] == "subscribe"


def test_one_thread_subscribes_while_another_listens(client, broker):
    with client.pubsub() as ps, ThreadPoolExecutor(1) as executor:
        ps.subscribe("a")
        listening = executor.submit(list, ps.listen())
        for number in range(20):
            ps.ssubscribe(f"c{number}")
        ps.sunsubscribe()
        ps.unsubscribe()
        found = listening.result(5)
        assert sum(one["type"] == "ssubscribe" for one in found) == 20
        assert found[-1]["type"] in {"unsubscribe", "sunsubscribe"}


def open_subscribers(fake):
    """The connections that are used for subscriptions."""
    used = {
        (node, command.connection_id)
        for node in fake.nodes
        for command in node.commands
        if command.name in KINDS.values()
    }
    return [c for node in fake.nodes for c in node.connections if (node, c.id) in used]


def await_none(fake):
    fake.nodes[0].wait_for(lambda: not open_subscribers(fake))


def test_closing_closes_every_connection_and_it_may_be_used_again(client, broker, fake):
    ps = client.pubsub()
    for _ in range(2):
        ps.ssubscribe("foo", "bar")
        assert len(open_subscribers(fake)) == 2
        ps.close()
        await_none(fake)
        assert not ps.subscribed
        assert ps.get_message() is None


def test_what_its_owner_forgot_is_closed(client, broker, fake):
    client.pubsub().ssubscribe("foo", "bar")
    gc.collect()
    await_none(fake)


def test_connections_that_nothing_is_subscribed_on_any_more_are_closed(client, broker, fake):
    with client.pubsub() as ps:
        ps.ssubscribe("foo", "bar")
        ps.sunsubscribe("foo")
        assert types(ps, 3)[-1] == "sunsubscribe"
        fake.nodes[0].wait_for(lambda: len(open_subscribers(fake)) == 1)


def test_a_closed_client_closes_its_subscriptions(connect, fake, broker):
    client = connect(fake.url)
    with client.pubsub() as ps, ThreadPoolExecutor(1) as executor:
        ps.ssubscribe("foo", "bar")
        listening = executor.submit(list, ps.listen())
        client.close()
        with pytest.raises(ClosedError):
            listening.result(5)
        await_none(fake)
        with pytest.raises(ClosedError):
            ps.subscribe("a")


def test_a_closed_client_leaves_no_connection_that_nobody_listens_on(connect, fake, broker):
    client = connect(fake.url)
    ps = client.pubsub()
    ps.ssubscribe("foo", "bar")
    client.close()
    await_none(fake)
    with pytest.raises(ClosedError):
        list(ps)


# ------------------------------------------------------------------------------------------ parity


@pytest.mark.parametrize(
    "name",
    [
        *("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"),
        *("get_message", "get_sharded_message", "listen", "run_in_thread"),
        *("ping", "close", "reset", "subscribed"),
    ],
)
def test_redis_pys_methods_are_there_with_its_arguments(name):
    theirs = getattr(redis.client.PubSub, name)
    ours = getattr(PubSub, name)
    if callable(theirs):
        wanted = set(inspect.signature(theirs).parameters) - {"pubsub", "sharded_pubsub"}
        assert wanted <= set(inspect.signature(ours).parameters)


def test_publishing_is_routed(client, fake):
    for node in fake.nodes:
        node.on("SPUBLISH", 1)
        node.on("PUBLISH", 2)
    assert client.spublish("foo", "1") == 1
    assert fake.owner("foo").received("SPUBLISH")
    assert not fake.owner("bar").received("SPUBLISH")
    assert client.publish("a", "1") == 2
