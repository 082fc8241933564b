"""Standalone servers, replicas and sentinels that say what real ones seldom do."""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest
import redis

from clustercache import Cluster
from clustercache.exceptions import ConfigurationError, NoClusterError
from clustercache.testing import FakeServer, error, simple

NO_CLUSTER = error("ERR This instance has cluster support disabled")
DENIED = error("NOPERM User app has no permissions to run this command")
SERVICE = "mymaster"


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def helpers():
    return [thread for thread in threading.enumerate() if thread.name == "clustercache"]


def primary(node, *replicas):
    known = [[one.host, str(one.port), "0"] for one in replicas]
    node.on("CLUSTER SLOTS", NO_CLUSTER).on("ROLE", [["master", 0, known]])
    return node.on("SET", simple("OK"))


def replica_of(node, leader):
    role = ["slave", leader.host, leader.port, "connected", 0]
    node.on("CLUSTER SLOTS", NO_CLUSTER).on("ROLE", [role])
    return node.on("SET", error("READONLY You can't write against a read only replica."))


def watches(sentinel, leader, epoch=0, *replicas):
    """Let a sentinel name `leader`."""

    def fields(node, **more):
        told = {"ip": node.host, "port": str(node.port), "flags": "slave", **more}
        return [word for pair in told.items() for word in pair]

    sentinel.on("SENTINEL GET-MASTER-ADDR-BY-NAME", [[leader.host, str(leader.port)]])
    sentinel.on("SENTINEL MASTER", [fields(leader, **{"config-epoch": str(epoch)})])
    sentinel.on("SENTINEL REPLICAS", [[fields(one) for one in replicas]])
    sentinel.on("SENTINEL SENTINELS", [[]])
    sentinel.on("SUBSCRIBE", lambda command, _: ["subscribe", command[1], 1])
    return sentinel


def sentinel_url(*sentinels):
    return f"redis+sentinel://{','.join(one.address for one in sentinels)}/{SERVICE}"


@pytest.fixture
def nodes():
    with FakeServer() as a, FakeServer() as b, FakeServer() as c:
        yield a, b, c


# Servers alone, and replicas ---------------------------------------------------------------------


def test_keys_of_any_slots_go_out_whole_before_the_topology_is_known(connect, nodes):
    node = primary(nodes[0]).on("MGET", [[b"1", b"2"]]).on("RENAME", simple("OK"))
    with connect(node.url) as client:
        assert client.mget("foo", "bar") == [b"1", b"2"]
    with Cluster.from_url(node.url) as client, client.pipeline() as pipe:
        assert pipe.rename("foo", "bar").mget("foo", "bar").execute() == [True, [b"1", b"2"]]
    assert [command[1:] for command in node.received("MGET")] == [[b"foo", b"bar"]] * 2


def test_a_user_who_may_ask_nothing_learns_from_hello_that_it_is_no_cluster(connect, nodes):
    node = primary(nodes[0]).on("CLUSTER SLOTS", DENIED).on("ROLE", DENIED)
    with connect(node.url) as client:
        assert client.set("k", "v")


def test_a_member_of_a_cluster_that_denies_its_slots_is_not_taken_for_a_standalone_server(
    connect, nodes
):
    node = primary(nodes[0]).on("CLUSTER SLOTS", DENIED)
    node.mode = "cluster"
    with connect(node.url) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.set("k", "v")
    assert not node.received("SET")


def test_a_write_that_a_demoted_primary_refuses_goes_to_its_primary(connect, nodes):
    old, new, _ = nodes
    primary(old, new)
    replica_of(new, old)
    with connect(old.url) as client:
        client.set("k", "v")
        replica_of(old, new)
        primary(new, old)
        assert client.set("k", "v")
    assert len(new.received("SET")) == 1


def test_a_silent_primary_is_replaced_by_the_replica_that_calls_itself_one(connect, nodes):
    old, new, _ = nodes
    primary(old, new)
    replica_of(new, old)
    with connect(old.url, socket_timeout=0.1, deadline=5.0) as client:
        client.set("k", "v")
        old.pause()
        primary(new)
        assert client.set("k", "v")
        assert new.received("SET")
        old.resume()


def test_a_promoted_node_that_only_the_replicas_know_is_found(connect, nodes):
    old, other, new = nodes
    primary(old, other)
    replica_of(other, old)
    with connect(old.url, socket_timeout=0.1, deadline=5.0) as client:
        client.set("k", "v")
        primary(new, other)
        replica_of(other, new)
        old.pause()
        assert client.set("k", "v")
        assert new.received("SET")
        old.resume()


def test_replicas_without_a_primary_are_asked_until_the_deadline(connect, nodes):
    one, gone, _ = nodes
    replica_of(one, gone)
    gone.stop_accepting()
    began = time.monotonic()
    with (
        connect(one.url, deadline=0.4) as client,
        pytest.raises(NoClusterError, match=gone.address),
    ):
        client.set("k", "v")
    assert time.monotonic() - began < 1.5


def test_a_refused_database_is_named_and_ends_the_call_at_once(connect, nodes):
    node = primary(nodes[0]).on("SELECT", error("ERR DB index is out of range"))
    with (
        connect(f"{node.url}/7", deadline=5.0) as client,
        pytest.raises(ConfigurationError, match="no database 7"),
    ):
        client.set("k", "v")


def test_a_sentinel_given_as_a_server_says_how_its_url_is_written(connect, nodes):
    node = nodes[0].on("ROLE", [["sentinel", [SERVICE]]])
    with (
        connect(node.url) as client,
        pytest.raises(NoClusterError, match=r"redis\+sentinel://"),
    ):
        client.set("k", "v")


# Sentinels ---------------------------------------------------------------------------------------


def test_a_primary_that_sentinels_name_is_believed_once_it_says_so_itself(connect, nodes):
    old, new, sentinel = nodes
    replica_of(new, old)
    watches(sentinel, new, 1)
    with connect(sentinel_url(sentinel), deadline=5.0) as client:
        call = threading.Thread(target=client.set, args=("k", "v"))
        call.start()
        new.wait_for(lambda: len(new.received("ROLE")) >= 2)
        assert not new.received("SET")
        primary(new)
        call.join()
        assert new.received("SET")


def test_the_error_says_why_the_named_primary_is_not_believed(connect, nodes):
    old, new, sentinel = nodes
    replica_of(new, old)
    watches(sentinel, new)
    with (
        connect(sentinel_url(sentinel), deadline=0.3) as client,
        pytest.raises(NoClusterError, match="not a primary yet"),
    ):
        client.set("k", "v")


def test_a_dead_sentinel_does_not_keep_the_others_from_being_asked(connect, nodes):
    node, dead, sentinel = nodes
    primary(node)
    watches(sentinel, node)
    dead.stop_accepting()
    with connect(sentinel_url(dead, sentinel)) as client:
        assert client.set("k", "v")


def test_an_announced_switch_is_followed_by_a_client_that_does_nothing(connect, nodes):
    old, new, sentinel = nodes
    primary(old, new)
    replica_of(new, old)
    watches(sentinel, old, 0, new)
    with connect(sentinel_url(sentinel)) as client:
        client.set("k", "v")
        sentinel.wait_for(lambda: len(sentinel.received("SUBSCRIBE")) == 5)
        ear = next(one for one in sentinel.connections if one.id == _subscriber(sentinel))
        wait_until(lambda: client.stats()["refreshes"])
        primary(new, old)
        watches(sentinel, new, 1, old)
        words = f"{SERVICE} {old.host} {old.port} {new.host} {new.port}"
        ear.send(["message", "+switch-master", words])
        wait_until(lambda: client._map.topology.shards[0].primary.address.port == new.port)
        assert client.set("k", "v")
    assert new.received("SET")


def _subscriber(sentinel):
    return sentinel.received("SUBSCRIBE")[0].connection_id


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_listener_ends_with_its_client_closed_or_dropped(nodes):
    node, _, sentinel = nodes
    primary(node)
    watches(sentinel, node)
    with Cluster.from_url(sentinel_url(sentinel)) as client:
        client.set("k", "v")
        assert len(helpers()) == 1
    assert not helpers()
    client = Cluster.from_url(sentinel_url(sentinel))
    client.set("k", "v")
    cluster_map = client._map  # what a traceback, say, still holds
    del client
    gc.collect()
    wait_until(lambda: not helpers())
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert not helpers(), "a fork brought back what served a client that is gone"
    del cluster_map


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_leaves_both_sides_with_a_listener(nodes):
    node, _, sentinel = nodes
    primary(node)
    watches(sentinel, node)
    with Cluster.from_url(sentinel_url(sentinel)) as client:
        client.set("k", "v")
        pid = os.fork()
        if pid == 0:
            try:
                served = client.set("k", "v") and len(helpers()) == 1
            finally:
                os._exit(0 if served else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(helpers()) == 1
        assert client.set("k", "v")
