"""Nodes that tell other addresses than 127.0.0.1: announced ones, names, none at all, and IPv6."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from clustercache import Cluster
from clustercache.exceptions import ClusterCacheError
from clustercache.localcluster import LocalCluster
from tests.asyncs import both  # noqa: F401 - for both clients
from tests.clusters import need_server

pytestmark = pytest.mark.live
AWAY = 5
"""How far from its own an announced port is."""


def eventually(condition, timeout=20.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "not within the time"
        time.sleep(0.02)


def announce(cluster, wanted, **options):
    """Let each node that there is announce something, and wait until all tell it of all.

    Args:
        cluster: Which one.
        wanted: What CLUSTER SLOTS has to tell, as a function of a node's (host, port).
        options: Functions of a node, by the option's name.
    """
    for node in cluster.nodes:
        if not node.running:  # the test before killed it
            cluster.restart(node, wait=False)
        for name, value in options.items():
            node.call("CONFIG", "SET", name.replace("_", "-"), value(node))
    told = {wanted(node) for node in cluster.nodes}
    eventually(lambda: all(endpoints(node) == told for node in cluster.nodes))


def endpoints(node):
    """Every (host, port) in a node's CLUSTER SLOTS."""
    return {
        (entry[0], entry[1])
        for _, _, *entries in node.call("CLUSTER", "SLOTS")
        for entry in entries
    }


def works(client):
    """Use all primaries, and follow a redirect, then see what the map holds."""
    keys = [f"k{number}" for number in range(50)]
    assert client.mset(dict.fromkeys(keys, "1")) is True
    assert client.mget(keys) == [b"1"] * 50
    slot = client.keyslot("k1")
    shards = client._map.topology.shards
    wrong = next(s for s in shards if s is not client._map.topology.slots[slot])
    client._map.patch(slot, wrong.primary.address)
    assert client.get("k1") == b"1"
    assert sum(node["redirects"] for node in client.stats()["nodes"].values()) == 1
    with client.pipeline() as pipe:
        assert pipe.get("k1").get("k2").execute() == [b"1", b"1"]
    return {shard.primary.address for shard in client._map.topology.shards}


def survives(cluster, client):
    """Go on through a primary's death; return the node that was killed."""
    cluster.wait_ready()
    victim = cluster.node_for("k1")
    cluster.kill(victim)
    assert client.set("k1", "2") is True
    assert client.get("k1") == b"2"
    return victim


@pytest.fixture(scope="module")
def behind_ports():
    with LocalCluster(3, 0) as made:
        yield made


def test_announced_ports_that_lead_nowhere_are_remapped(behind_ports):
    made = behind_ports
    announce(
        made,
        lambda node: (node.host, node.port + 1000 + AWAY),
        cluster_announce_bus_port=lambda node: node.port + 10000,
        cluster_announce_port=lambda node: node.port + 1000 + AWAY,
    )
    asked = []

    def back(address):
        asked.append(address)
        return address[0], address[1] - 1000 - AWAY

    with (
        Cluster.from_url(made.url, deadline=1.0) as lost,
        pytest.raises(ClusterCacheError),
    ):
        lost.set("k", "1")
    with Cluster.from_url(made.url, address_remap=back) as client:
        found = works(client)
        assert found == {(node.host, node.port + 1000 + AWAY) for node in made.nodes}
        assert set(asked) == found, "it is asked of what the cluster tells, never of a seed"


@pytest.fixture(scope="module")
def behind_nat():
    config = {"bind": "127.0.0.1 127.0.0.5"}
    server = need_server("valkey").path
    with LocalCluster(3, 1, server=server, node_timeout=1.0, config=config) as made:
        yield made


def test_announced_hosts_are_remapped_through_a_failover(behind_nat):
    announce(
        behind_nat,
        lambda node: ("127.0.0.5", node.port),
        cluster_announce_ip=lambda _: "127.0.0.5",
    )

    def remap(address):
        assert address[0] == "127.0.0.5"
        return "127.0.0.1", address[1]

    options = {"client_name": "behind-nat", "address_remap": remap}
    with Cluster.from_url(behind_nat.url, **options) as client:
        assert {address.host for address in works(client)} == {"127.0.0.5"}
        victim = survives(behind_nat, client)
        lists = [node.call("CLIENT", "LIST") for node in behind_nat.nodes if node is not victim]
        lines = [line for text in lists for line in text.splitlines() if "behind-nat" in line]
        assert lines
        assert all(" laddr=127.0.0.1:" in line for line in lines)


@pytest.fixture(scope="module", params=["valkey", "redis-7.0"])
def with_names(request):
    config = {
        "cluster-announce-hostname": "localhost",
        "cluster-preferred-endpoint-type": "hostname",
    }
    server = need_server(request.param).path
    with LocalCluster(3, 1, server=server, node_timeout=1.0, config=config) as made:
        yield made


def test_hostnames_are_preferred_where_the_cluster_prefers_them(with_names):
    announce(with_names, lambda node: ("localhost", node.port))
    with Cluster.from_url(with_names.url) as client:
        assert {address.host for address in works(client)} == {"localhost"}
        survives(with_names, client)


@pytest.fixture(scope="module", params=["valkey", "redis-7.0"])
def without_names(request):
    config = {"cluster-preferred-endpoint-type": "hostname"}
    with LocalCluster(3, 0, server=need_server(request.param).path, config=config) as made:
        yield made


def test_a_node_without_the_hostname_that_it_should_have_is_reached_by_its_ip(without_names):
    announce(without_names, lambda node: ("?", node.port))
    with Cluster.from_url(without_names.url) as client:
        client.set("k", "1")
        shards = client._map.topology.shards
        assert {shard.primary.address.host for shard in shards} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def without_endpoints():
    config = {"cluster-preferred-endpoint-type": "unknown-endpoint"}
    server = need_server("valkey").path
    with LocalCluster(3, 1, server=server, node_timeout=1.0, config=config) as made:
        yield made


def test_an_unknown_endpoint_is_the_host_that_was_asked(without_endpoints):
    announce(without_endpoints, lambda node: (None, node.port))
    urls = [f"redis://localhost:{node.port}" for node in without_endpoints.nodes]
    with Cluster.from_url(urls) as client:
        assert {address.host for address in works(client)} == {"localhost"}
        survives(without_endpoints, client)


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.fixture(scope="module", params=["valkey", "redis-6.2"])
def on_ipv6(request):
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    config = {"bind": "127.0.0.1 ::1"}
    server = need_server(request.param).path
    with LocalCluster(3, 1, server=server, node_timeout=1.0, config=config) as made:
        yield made


def test_a_cluster_on_ipv6(on_ipv6):
    announce(on_ipv6, lambda node: ("::1", node.port), cluster_announce_ip=lambda _: "::1")
    with Cluster.from_url(f"redis://[::1]:{on_ipv6.nodes[0].port}") as client:
        found = works(client)
        assert {address.host for address in found} == {"::1"}
        assert f"[::1]:{on_ipv6.nodes[0].port}" in client.stats()["nodes"]
        survives(on_ipv6, client)
