"""Reads by policy on real servers: they arrive where the policy says."""

from __future__ import annotations

import re
import threading
from time import monotonic

import pytest

from clustercache import Cluster, ReadFrom
from clustercache.localcluster import LocalCluster
from tests.asyncs import both  # noqa: F401 - for both clients
from tests.clusters import need_server

pytestmark = pytest.mark.live
KEY = "bar"


@pytest.fixture(scope="module")
def three():
    """Each primary with two replicas."""
    with LocalCluster(primaries=3, replicas=2) as made:
        yield made


def wait_until(condition, what, timeout=15.0):
    limit = monotonic() + timeout
    while not condition():
        assert monotonic() < limit, what
        threading.Event().wait(0.02)


def calls(node, name="get"):
    """How often a server executed a command, by its own count."""
    found = re.search(rf"cmdstat_{name}:calls=(\d+)", node.call("INFO", "commandstats"))
    return int(found[1]) if found else 0


class Counts:
    """What each server of a key's shard executed since this was made: primary, then replicas."""

    def __init__(self, lc):
        primary = lc.node_for(KEY)
        self.nodes = [primary, *sorted(lc.replicas_of(primary), key=lambda node: node.port)]
        self._before = {}

    def since(self, name="get"):
        return [calls(node, name) - self._before.get((node, name), 0) for node in self.nodes]

    def begin(self, *names):
        self._before = {(node, name): calls(node, name) for node in self.nodes for name in names}


@pytest.fixture
def counts(three):
    made = Counts(three)
    made.begin("get", "mget", "set", "readonly")
    return made


def test_preferred_replicas_share_the_reads(three, counts):
    with Cluster.from_url(three.url, read_from=ReadFrom.PREFER_REPLICA) as client:
        client.set(KEY, "1")
        for _ in range(60):
            client.get(KEY)
        primary, one, other = counts.since()
        assert primary == 0
        assert one + other == 60
        assert min(one, other) >= 20
        assert counts.since("readonly") == [0, 1, 1]


def test_a_round_robin_reaches_primary_and_replicas(three, counts):
    with Cluster.from_url(three.url, read_from=ReadFrom.ROUND_ROBIN) as client:
        for _ in range(60):
            client.get(KEY)
        assert all(10 <= count <= 30 for count in counts.since())


def test_the_primary_alone_serves_until_it_is_gone(three, counts):
    with Cluster.from_url(three.url, read_from=ReadFrom.PRIMARY_THEN_REPLICA) as client:
        for _ in range(30):
            client.get(KEY)
        assert counts.since() == [30, 0, 0]


def test_split_reads_reach_replicas(three, counts):
    with Cluster.from_url(three.url, read_from=ReadFrom.PREFER_REPLICA) as client:
        for _ in range(10):
            client.mget(KEY, "foo", "baz", "qux")
        primary, one, other = counts.since("mget")
        assert primary == 0
        assert min(one, other) >= 5


def test_a_block_reads_from_replicas(three, counts):
    with Cluster.from_url(three.url) as client:
        client.get(KEY)
        with client.read_from(ReadFrom.PREFER_REPLICA):
            for _ in range(10):
                client.get(KEY)
        client.get(KEY)
        primary, one, other = counts.since()
        assert (primary, one + other) == (2, 10)


def test_a_replica_in_the_clients_zone_serves(three, counts):
    far, near = counts.nodes[1:]
    zones = {far: "az2", near: "az1", counts.nodes[0]: "az1"}
    for node, zone in zones.items():
        node.call("CONFIG", "SET", "availability-zone", zone)
    url = f"{three.url}&read_from=same_zone&availability_zone=az1"
    with Cluster.from_url(url) as client:
        for _ in range(50):
            client.get(KEY)
        assert counts.since() == [1, 1, 48]
    for node in zones:
        node.call("CONFIG", "SET", "availability-zone", "")


@pytest.mark.parametrize("stale", ["yes", "no"])
@pytest.mark.parametrize(
    ("shell", "server"),
    [("sync", "valkey"), ("sync", "redis-6.2"), ("asyncio", "valkey")],
    indirect=["shell"],
)
def test_a_replica_that_lost_its_link_is_left_out_until_it_has_it_again(server, stale):
    options = {"replica-serve-stale-data": stale}
    with LocalCluster(
        primaries=3, replicas=1, server=need_server(server).path, config=options
    ) as lc:
        counts = Counts(lc)
        primary, replica = counts.nodes
        with Cluster.from_url(lc.url, read_from=ReadFrom.PREFER_REPLICA) as client:
            client.set(KEY, "1")
            for _ in range(10):
                client.get(KEY)
            # A user that the primary does not know: it refuses the link from now on.
            replica.call("CONFIG", "SET", "masterauth", "wrong")
            replica.call("CONFIG", "SET", "masteruser", "nobody")
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            lost = lambda: "master_link_status:down" in replica.call("INFO", "replication")  # noqa: E731
            wait_until(lost, "the link stays")

            def moved_on():
                counts.begin("get")
                assert client.get(KEY) == b"1"
                return counts.since() == [1, 0]

            wait_until(moved_on, "the replica without a link is read from")
            counts.begin("get")
            for _ in range(50):
                assert client.get(KEY) == b"1"
            assert counts.since() == [50, 0]
            replica.call("CONFIG", "SET", "masteruser", "")
            replica.call("CONFIG", "SET", "masterauth", "")
            wait_until(lambda: not lost(), "the link does not come back")

            def back():
                counts.begin("get")
                client.get(KEY)
                return counts.since() == [0, 1]

            wait_until(back, "the replica is not read from again")


def test_a_replica_that_was_restarted_serves_again():
    with LocalCluster(primaries=3, replicas=1) as lc:
        counts = Counts(lc)
        with Cluster.from_url(lc.url, read_from=ReadFrom.PREFER_REPLICA) as client:
            client.set(KEY, "1")
            client.get(KEY)
            lc.kill(counts.nodes[1])
            for _ in range(20):
                assert client.get(KEY) in {b"1", None}
            lc.restart(counts.nodes[1])

            def back():
                counts.begin("get")
                client.get(KEY)
                return counts.since() == [0, 1]

            wait_until(back, "the replica is not read from again")
