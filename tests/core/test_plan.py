"""Plans: even shares, replicas on other hosts, and clear words for nodes that will not do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.slots import SLOT_COUNT
from clustercache.admin.nodes_text import SlotRange, parse_nodes
from clustercache.admin.plan import NodeFacts, plan, share_slots
from clustercache.exceptions import PlanError


def node(number, host="10.0.0.1", **facts):
    return NodeFacts(address=Address(host, 7000 + number), node_id=f"id{number}", **facts)


def nodes(count):
    return [node(number) for number in range(count)]


@given(st.integers(1, 1000))
def test_every_slot_goes_to_exactly_one_primary_and_sizes_differ_by_at_most_one(primaries):
    shares = share_slots(primaries)
    assert [slot for part in shares for slot in range(part.start, part.end + 1)] == list(
        range(SLOT_COUNT)
    )
    sizes = {part.size for part in shares}
    assert max(sizes) - min(sizes) <= 1


@st.composite
def layouts(draw):
    primaries, replicas = draw(st.integers(3, 8)), draw(st.integers(0, 3))
    count = primaries * (replicas + 1)
    hosts = draw(st.lists(st.sampled_from("abcdef"), min_size=count, max_size=count))
    return [node(i, f"host-{host}") for i, host in enumerate(hosts)], primaries, replicas


@given(layouts())
def test_replicas_share_their_primarys_host_only_where_that_cannot_be_avoided(layout):
    given_nodes, primaries, replicas = layout
    made = plan(given_nodes, replicas)
    assert sorted(map(id, made.nodes)) == sorted(map(id, given_nodes))
    assert [len(shard.replicas) for shard in made.shards] == [replicas] * primaries
    clashes = sum(
        replica.address.host == shard.primary.address.host
        for shard in made.shards
        for replica in shard.replicas
    )
    # A host's replicas fit only with primaries of other hosts: what is over must clash (Hall).
    total = Counter(one.address.host for one in given_nodes)
    homes = Counter(shard.primary.address.host for shard in made.shards)
    over = {h: total[h] - homes[h] - replicas * (primaries - homes[h]) for h in total}
    assert clashes == sum(max(0, excess) for excess in over.values())


def test_primaries_are_spread_over_the_hosts():
    made = plan([node(i, f"host-{'aaabbbccc'[i]}") for i in range(9)], replicas=2)
    assert {shard.primary.address.host for shard in made.shards} == {"host-a", "host-b", "host-c"}
    for shard in made.shards:
        assert len({shard.primary.address.host, *(r.address.host for r in shard.replicas)}) == 3
    assert not made.warnings


def test_nodes_left_over_become_further_replicas():
    assert [len(shard.replicas) for shard in plan(nodes(8)).shards] == [1, 1, 1, 1]
    assert [len(shard.replicas) for shard in plan(nodes(8), primaries=3).shards] == [2, 2, 1]
    assert [len(shard.replicas) for shard in plan(nodes(7)).shards] == [2, 1, 1]


def test_one_primary_has_to_be_asked_for():
    assert len(plan(nodes(1), 0, primaries=1).shards) == 1
    with pytest.raises(PlanError, match="3 nodes are needed for 3 primaries with 0 replicas"):
        plan(nodes(1), 0)


def test_the_plan_tells_what_it_cannot_avoid():
    assert "losing it loses the cluster" in plan(nodes(6)).warnings[0]
    two_hosts = [node(i, f"host-{i % 2}") for i in range(6)]
    assert any("no majority" in warning for warning in plan(two_hosts).warnings)
    crowded = [node(i, "host-a") for i in range(5)] + [node(5, "host-b")]
    assert any("same host as its primary" in warning for warning in plan(crowded).warnings)


def test_the_plan_can_be_shown_and_turned_into_json():
    made = plan(nodes(6))
    assert "10.0.0.1:7000  slots 0-5460" in str(made)
    assert made.to_dict()["shards"][2] == {
        "primary": "10.0.0.1:7002",
        "slots": [10922, 16383],
        "replicas": ["10.0.0.1:7005"],
    }


def changed(number, **facts):
    return [replace(one, **facts) if i == number else one for i, one in enumerate(nodes(6))]


@pytest.mark.parametrize(
    ("given_nodes", "message"),
    [
        (nodes(5), "6 nodes are needed for 3 primaries with 1 replica each; 5 were given"),
        ([], "6 nodes are needed"),
        (changed(1, keys=7), r"10.0.0.1:7001 is not empty: it holds 7 keys"),
        (changed(4, keys=7), r"10.0.0.1:7004 is not empty"),
        (changed(2, known=frozenset({"x", "y"})), "knows 2 nodes not given"),
        (changed(3, cluster_enabled=False, node_id=""), "cluster-enabled yes"),
        (changed(5, node_id="id1"), "10.0.0.1:7001 and 10.0.0.1:7005 are one and the same node"),
        ([*nodes(5), node(2)], "10.0.0.1:7002 was given 2 times"),
        (changed(0, slots=(SlotRange(9000, 9001),)), "serves slots 9000-9001 already"),
        (changed(3, slots=(SlotRange(5, 5),)), "serves slots 5 already.*replica of"),
        (changed(0, primary_id="id1"), "is a replica already, and was to be a primary"),
        (changed(3, primary_id="id1"), "is a replica of another node already"),
        (changed(0, address=Address("127.0.0.1", 7000)), "127.0.0.1:7000 is a loopback address"),
        (changed(0, address=Address("localhost", 7000)), "localhost:7000 is a loopback address"),
    ],
)
def test_nodes_that_will_not_do_are_named(given_nodes, message):
    with pytest.raises(PlanError, match=message):
        plan(given_nodes)


@pytest.mark.parametrize("options", [{"replicas": -1}, {"primaries": 0}])
def test_numbers_that_cannot_be_meant_are_refused(options):
    with pytest.raises(PlanError, match="at least one primary"):
        plan(nodes(6), **options)


def test_no_node_is_left_out_silently():
    with pytest.raises(PlanError, match=r"3 nodes are needed.*4 were given"):
        plan(nodes(4), 0, primaries=3)


def test_a_half_done_run_of_the_same_plan_is_recognised():
    fresh = plan(nodes(6))
    assert not fresh.resumes
    others = frozenset({"id0", "id1", "id3"})
    half = nodes(6)
    half[0] = replace(half[0], slots=(SlotRange(0, 5460),), known=others - {"id0"}, keys=3)
    half[1] = replace(half[1], slots=(SlotRange(6000, 6100),))
    half[3] = replace(half[3], primary_id="id0", known=others - {"id3"}, keys=3)
    again = plan(half)
    assert again.resumes
    assert [s.slots for s in again.shards] == [s.slots for s in fresh.shards]
    assert [one.address for one in again.nodes] == [one.address for one in fresh.nodes]


TEXT = """\
aa :7000@17000 myself,master - 0 0 3 connected 0-5 7 [5->-bb] [9-<-cc]
bb 10.0.0.2:7001@27001,node-b master,fail? - 1 2 4 disconnected 6 8-16383
cc ::1:7002@17002,,shard-id=1 slave bb 0 1 4 connected
dd 10.0.0.4:7003@17003 handshake - 0 0 0 connected
ee :0@0 master,fail,noaddr - 0 0 0 disconnected
"""


def test_cluster_nodes_is_understood():
    first, second, third, fourth, fifth = parse_nodes(TEXT, "10.0.0.9")
    assert first.address == Address("10.0.0.9", 7000)
    assert first.slots == (SlotRange(0, 5), SlotRange(7, 7))
    assert (first.slot_count, first.epoch, first.is_primary) == (7, 3, True)
    assert (first.migrating, first.importing) == (((5, "bb"),), ((9, "cc"),))
    assert (second.bus_port, second.connected, second.has_failed) == (27001, False, False)
    assert third.address == Address("::1", 7002)
    assert (third.primary_id, third.is_primary) == ("bb", False)
    assert not fourth.is_member
    assert fifth.has_failed
