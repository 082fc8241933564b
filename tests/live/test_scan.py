"""Scans while slots move and primaries are replaced."""

from __future__ import annotations

import pytest

from clustercache import Cluster
from clustercache._core.scan import passport
from clustercache._core.slots import key_slot
from clustercache.admin.waiting import wait_until
from clustercache.localcluster import LocalCluster
from tests.asyncs import both  # noqa: F401 - for both clients

pytestmark = pytest.mark.live

KEYS = {f"k{i}" for i in range(3000)}


@pytest.fixture(scope="module")
def lc():
    """A cluster that these tests change; each leaves it with all its nodes and keys in place."""
    with LocalCluster(primaries=3, replicas=1, node_timeout=1.0) as made:
        yield made


@pytest.fixture
def r(lc):
    lc.wait_ready()
    with Cluster.from_url(lc.url, decode_responses=True) as client:
        client.flushall()
        client.mset(dict.fromkeys(KEYS, 1))
        yield client


def ends(lc, slot):
    """The primary that owns a slot, and another one."""
    source = lc.node_for(slot)
    return source, next(node for node in lc.primaries if node is not source)


def open_slot(lc, slot):
    source, target = ends(lc, slot)
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    return source, target


def move_keys(slot, source, target):
    while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.call("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)


def close_slot(lc, slot, target):
    """End a move. One to each cluster: Valkey 9.1 has lost slots that moved fast and both ways."""
    for node in (target, *(one for one in lc.primaries if one is not target)):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
    lc.wait_ready()


def move_at_once(lc, slot):
    """Move a slot as Valkey 9 can."""
    source, target = ends(lc, slot)
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.node_id)

    def reason():
        there = passport(target.call("CLUSTER", "NODES"), "").slots
        return None if slot in there else f"slot {slot} has not come"

    wait_until(reason, 20, "a slot's move")
    lc.wait_ready()


@pytest.mark.parametrize("parallel", [False, True])
def test_a_scan_of_a_cluster_at_rest_finds_each_key_once(r, parallel):
    found = list(r.scan_iter(count=50, parallel=parallel))
    assert len(found) == len(KEYS)
    assert set(found) == KEYS


def test_a_scan_filters(r):
    r.sadd("set", 1)
    assert set(r.scan_iter("k1*")) == {key for key in KEYS if key.startswith("k1")}
    assert list(r.scan_iter(_type="set")) == ["set"]
    (node,) = [one for one in r.get_primaries() if one == r.get_node_from_key("set")]
    mine = set(r.scan_iter(target=node))
    assert "set" in mine
    assert mine == set(node.redis_connection.scan_iter(count=1000)) < KEYS | {"set"}


@pytest.mark.parametrize("parallel", [False, True])
def test_no_key_is_missed_while_slots_move(lc, r, parallel):
    """Slots move both ways between primaries that are and that are not scanned yet."""
    scan = r.scan_iter(count=20, parallel=parallel)
    found = {next(scan)}
    for i in range(12):
        found |= {next(scan) for _ in range(60)}
        move_at_once(lc, key_slot(f"k{i}".encode()))
    assert found | set(scan) == KEYS


@pytest.mark.parametrize("parallel", [False, True])
def test_keys_of_a_half_moved_slot_are_found(lc, r, parallel):
    slot = key_slot(b"k0")
    scan = r.scan_iter(count=20, parallel=parallel)
    found = {next(scan)}
    source, target = open_slot(lc, slot)
    move_keys(slot, source, target)
    try:
        assert found | set(scan) == KEYS
    finally:
        close_slot(lc, slot, target)


@pytest.mark.parametrize("parallel", [False, True])
def test_no_key_is_missed_when_a_primary_is_killed(lc, r, parallel):
    scan = r.scan_iter(count=20, parallel=parallel)
    found = {next(scan) for _ in range(40)}
    victim = lc.node_for(next(iter(found)))
    lc.kill(victim)
    try:
        assert found | set(scan) == KEYS
    finally:
        lc.wait_failover()
        lc.restart(victim)


def test_no_key_is_missed_when_a_replica_takes_over(lc, r):
    scan = r.scan_iter(count=20)
    found = {next(scan) for _ in range(40)}
    primary = lc.node_for(next(iter(found)))
    lc.failover(lc.replicas_of(primary)[0])
    assert found | set(scan) == KEYS


@pytest.fixture(params=["set", "hash", "zset"])
def big(request, r):
    """A large set, hash or sorted set at "big": its scan, and what it holds."""
    names = {str(i) for i in range(2000)}
    if request.param == "set":
        r.sadd("big", *names)
        return r.sscan_iter("big", count=20), names
    if request.param == "hash":
        r.hset("big", mapping=dict.fromkeys(names, 1))
        return (field for field, _ in r.hscan_iter("big", count=20)), names
    r.zadd("big", dict.fromkeys(names, 1))
    return (member for member, _ in r.zscan_iter("big", count=20)), names


def test_a_scan_of_one_key_begins_again_at_its_new_primary(lc, big):
    scan, names = big
    found = {next(scan) for _ in range(500)}
    lc.failover(lc.replicas_of(lc.node_for("big"))[0])
    assert found | set(scan) == names


def test_a_scan_of_one_key_begins_again_where_the_key_went(lc, big):
    scan, names = big
    found = {next(scan) for _ in range(500)}
    slot = key_slot(b"big")
    source, target = open_slot(lc, slot)
    move_keys(slot, source, target)
    found |= {next(scan) for _ in range(100)}
    close_slot(lc, slot, target)
    assert found | set(scan) == names


def test_a_scan_needs_no_more_rights_than_scan(lc, r):
    for node in lc.nodes:
        node.call("ACL", "SETUSER", "few", "on", ">few", "~*", "+scan", "+cluster|slots")
    with Cluster.from_url(lc.url, username="few", password="few", decode_responses=True) as few:
        assert set(few.scan_iter(count=100)) == KEYS
