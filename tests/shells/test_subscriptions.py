"""Subscriptions come back by themselves, whatever the nodes do, and gaps are told."""

from __future__ import annotations

import logging
import threading
from time import monotonic

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError

from clustercache import _subscriber
from clustercache._core.slots import key_slot
from clustercache.exceptions import InvalidArgumentError, NoClusterError
from clustercache.testing import FakeCluster, error, raw, silence
from tests.shells.subscribers import Broker, drain, message, messages, types

SECRET = "a-channel-that-no-message-may-show"


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


# -------------------------------------------------------------------------------- desired state


def test_an_unsolicited_sunsubscribe_means_subscribe_again_where_the_slot_is(client, broker, fake):
    source, target = fake.owner("foo"), fake.owner("bar")
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        fake.move("foo", target)
        broker.evict(b"foo")
        found = messages(ps, 3)
        assert [one["type"] for one in found] == ["ssubscribe", "gap", "gap"]
        assert found[1] == message("gap", None, b"foo", "unsubscribed by the node")
        assert found[2] == message("gap", None, b"foo", "subscribed again")
        assert broker.nodes_with("s", b"foo") == [target]
        broker.send("s", b"foo", b"1")
        assert messages(ps, 1)[0]["data"] == b"1"
        assert source.received("SSUBSCRIBE")


def test_moved_is_followed_though_no_view_knows_of_it_yet(client, broker, fake):
    client.get("foo")
    target = fake.owner("bar")
    for node in fake.nodes:
        node.on("CLUSTER SLOTS", node.slots_reply()).on("CLUSTER NODES", node.nodes_reply())
    fake.move("foo", target)
    with client.pubsub() as ps:
        began = monotonic()
        ps.ssubscribe("foo")
        assert monotonic() - began < 0.3
        assert target.received("SSUBSCRIBE")
        assert types(ps, 1) == ["ssubscribe"]


def test_a_changed_map_moves_shard_channels_while_nobody_says_anything(client, broker, fake):
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        fake.move("foo", fake.owner("bar"))
        client.get("foo")
        drain(ps, lambda: broker.nodes_with("s", b"foo") == [fake.owner("bar")])


def test_a_node_that_serves_not_for_now_is_asked_again(client, broker, fake):
    node = fake.owner("foo")
    down = error("CLUSTERDOWN Hash slot not served")
    node.on("SSUBSCRIBE", [down, down, broker._joins(node, "s")])
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        assert types(ps, 1) == ["ssubscribe"]


def test_a_slot_without_an_owner_is_waited_for(client, broker, fake):
    node = fake.owner("foo")
    fake.unassign("foo")
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        assert ps.get_message(timeout=0.1) is None
        fake.move("foo", node)
        assert types(ps, 1) == ["ssubscribe"]


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_was_cut_is_made_again(client, broker, fake, reset):
    node = fake.owner("foo")
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        node.drop_connections(reset=reset)
        found = messages(ps, 3)
        assert [one["type"] for one in found] == ["ssubscribe", "gap", "gap"]
        assert [one["data"] for one in found[1:]] == ["connection lost", "subscribed again"]
        broker.send("s", b"foo", b"1")
        assert messages(ps, 1)[0]["data"] == b"1"


def test_what_is_no_resp_closes_the_connection(client, broker, fake):
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        (connection,) = broker.held[fake.owner("foo"), "s", b"foo"]
        connection.send(raw(b"?!\r\n"))
        assert types(ps, 3) == ["ssubscribe", "gap", "gap"]


def test_a_silent_node_is_left_after_a_ping(client, broker, fake):
    with client.pubsub() as ps:
        ps.subscribe("a")
        (home,) = broker.nodes_with("", b"a")
        home.pause()
        began = monotonic()
        found = messages(ps, 3)
        took = monotonic() - began
        home.resume()
        assert [one["data"] for one in found] == [1, "node silent", "subscribed again"]
        assert 2 * 0.3 <= took < 1.5
        broker.send("", b"a", b"1")
        assert messages(ps, 1)[0]["data"] == b"1"


def test_a_quiet_channel_is_no_silent_node(client, broker, fake):
    with client.pubsub(ignore_subscribe_messages=True, gaps=True) as ps:
        ps.subscribe("a")
        (home,) = broker.nodes_with("", b"a")
        ps.get_message()
        assert ps.get_message(timeout=1.2) is None
        assert 2 <= len(home.received("PING")) <= 5
        assert len(home.received("SUBSCRIBE")) == 1


def test_a_user_who_looks_away_for_long_loses_nothing(client, broker):
    """Time that nobody read is no time that the node was silent."""
    with client.pubsub() as ps:
        ps.subscribe("a")
        assert types(ps, 1) == ["subscribe"]
        for _ in range(3):
            threading.Event().wait(0.7)
            assert ps.get_message() is None
        broker.send("", b"a", b"1")
        assert messages(ps, 1)[0]["data"] == b"1"


def test_the_silence_of_one_node_does_not_hold_up_the_others(client, broker, fake):
    sick = fake.owner("bar")
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        sick.pause()
        ps.ssubscribe("bar")
        began = monotonic()
        for number in range(20):
            broker.send("s", b"foo", b"%d" % number)
            drain_one = messages(ps, 1)
            assert drain_one[0]["type"] in {"ssubscribe", "smessage"}
        assert monotonic() - began < 0.5
        sick.resume()
        drain(ps, lambda: broker.nodes_with("s", b"bar"))


def test_a_node_that_is_not_there_is_gone_round(connect, broker, fake):
    with connect(fake.urls, deadline=5.0) as client:
        client.get("foo")
        for node in fake.primaries[:1]:
            node.stop_accepting()
        for _ in range(6):
            with client.pubsub() as ps:
                ps.subscribe("a")
                assert types(ps, 1) == ["subscribe"]


def test_a_node_that_is_not_there_is_suspected(client, broker, fake):
    node = fake.owner("foo")
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        node.stop_accepting()
        node.drop_connections()
        drain(ps, lambda: client.stats()["nodes"][node.address]["suspected"])
        node.start_accepting()
        drain(ps, lambda: broker.nodes_with("s", b"foo"))


def test_a_promotion_is_followed(connect, broker):
    with FakeCluster(primaries=2, replicas=1) as fake:
        broker = Broker(fake)
        primary = fake.owner("foo")
        (replica,) = primary.replicas
        with connect(fake.urls, deadline=5.0) as client, client.pubsub() as ps:
            ps.ssubscribe("foo")
            ps.keyspace()
            fake.fail(primary)
            fake.promote(replica)
            drain(ps, lambda: broker.nodes_with("s", b"foo") == [replica])
            drain(ps, lambda: replica in broker.nodes_with("p", b"__keyspace@0__:*"))


def test_a_new_primary_is_found_while_nobody_says_anything(connect, monkeypatch):
    monkeypatch.setattr(_subscriber, "LOOK_ROUND", 0.2)
    with FakeCluster(primaries=3) as fake:
        broker = Broker(fake)
        one, _, new = fake.primaries
        fake.move(new.slots, one)
        with connect(fake.url) as client, client.pubsub() as ps:
            ps.keyspace()
            assert types(ps, 1) == ["psubscribe"]
            fake.move("foo", new)
            drain(ps, lambda: new in broker.nodes_with("p", b"__keyspace@0__:*"))


# ----------------------------------------------------------------------------------------- errors


def test_a_subscription_that_is_refused_for_good_is_told_and_forgotten(client, broker, fake):
    for node in fake.nodes:
        node.on("SSUBSCRIBE", error("NOPERM No permissions to access a channel"))
    with client.pubsub() as ps:
        with pytest.raises(NoPermissionError) as caught:
            ps.ssubscribe(SECRET)
        assert not ps.subscribed
        assert ps.get_message() is None
        told = str(caught.value) + "".join(caught.value.__notes__)
        assert "SSUBSCRIBE" in told
        assert str(key_slot(SECRET)) in told
        assert SECRET not in told


def test_credentials_that_are_refused_are_told(client, broker, fake):
    client.get("foo")
    for node in fake.nodes:
        node.on("HELLO", error("WRONGPASS invalid username-password pair or user is disabled."))
    with client.pubsub() as ps, pytest.raises(AuthenticationError):
        ps.subscribe("a")


def test_a_node_that_is_full_is_asked_again(client, broker, fake):
    client.get("foo")
    node = fake.owner("foo")
    node.on("HELLO", error("ERR max number of clients reached"))
    with client.pubsub() as ps:
        ps.ssubscribe("foo")
        assert ps.get_message() is None
        assert not client.stats()["nodes"][node.address]["suspected"]
        node.off("HELLO")
        assert types(ps, 1) == ["ssubscribe"]


def test_no_cluster_is_told(connect):
    with connect("redis://127.0.0.1:1", deadline=0.2) as client, client.pubsub() as ps:
        with pytest.raises(NoClusterError):
            ps.subscribe("a")
        assert not ps.subscribed


@pytest.mark.parametrize("options", [{"node": 1}, {"host": "h"}, {"push_handler_func": print}])
def test_what_pubsub_cannot_do_is_refused(client, options):
    with pytest.raises(InvalidArgumentError):
        client.pubsub(**options)


def test_to_subscribe_to_nothing_is_refused(client):
    with client.pubsub() as ps, pytest.raises(InvalidArgumentError):
        ps.subscribe()


def test_no_channel_is_logged(client, broker, fake, caplog):
    caplog.set_level(logging.DEBUG)
    with client.pubsub() as ps:
        ps.ssubscribe(SECRET)
        fake.owner(SECRET).drop_connections()
        assert types(ps, 3) == ["ssubscribe", "gap", "gap"]
    assert "subscriptions_lost" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in repr(ps)


# ------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ["ssubscribe", "gap", "gap", "smessage"]),
        ({"ignore_subscribe_messages": True}, ["smessage"]),
        ({"ignore_subscribe_messages": True, "gaps": True}, ["gap", "gap", "smessage"]),
        ({"gaps": False}, ["ssubscribe", "smessage"]),
    ],
)
def test_gaps_are_told_where_they_are_wanted(client, broker, fake, options, told):
    found = []
    with client.pubsub(**options) as ps:
        ps.ssubscribe("foo")
        fake.owner("foo").drop_connections()
        while not found or found[-1] != "smessage":
            one = ps.get_message(timeout=0.05)
            found += [one["type"]] if one else []
            if broker.nodes_with("s", b"foo"):
                broker.send("s", b"foo", b"1")
    assert found[: len(told)] == told


def test_gaps_have_a_handler_where_one_is_given(client, broker, fake):
    seen = []
    with client.pubsub(gaps=seen.append, ignore_subscribe_messages=True) as ps:
        ps.ssubscribe("foo")
        fake.owner("foo").drop_connections()
        drain(ps, lambda: len(seen) == 2)
        assert [one["data"] for one in seen] == ["connection lost", "subscribed again"]


def test_a_handshake_without_an_answer_is_given_up(connect, broker, fake):
    with connect(fake.urls, socket_connect_timeout=0.2, socket_timeout=0.3) as client:
        client.get("foo")
        node = fake.owner("foo")
        node.on("HELLO", silence())
        with client.pubsub() as ps:
            ps.ssubscribe("foo")
            assert len(node.received("HELLO")) >= 2
            node.off("HELLO")
            assert types(ps, 1) == ["ssubscribe"]
