"""Several views become one snapshot: by epoch, then by majority, then the newest."""

from __future__ import annotations

import time

import pytest

from clustercache._core.refresh import ASKED
from clustercache._core.topology import (
    Claim,
    Shard,
    Topology,
    merge,
    same_cluster,
)
from tests.core.topologies import (
    SLOTS,
    address,
    large_cluster,
    node,
    owners,
    parsed,
    shard,
    topology,
    view,
)

LAST = SLOTS - 1


def test_one_view_is_the_snapshot():
    known = merge([view("a", (0, 99, shard("a")), (100, LAST, shard("b")))])
    assert owners(known, 0, 99, 100, LAST) == ["a", "a", "b", "b"]
    assert sum(shard is not None for shard in known.slots) == SLOTS


def test_what_no_view_claims_has_no_owner():
    known = merge([view("a", (10, 20, shard("a")))])
    assert owners(known, 9, 10, 20, 21) == [None, "a", "a", None]
    assert sum(shard is not None for shard in known.slots) == 11


def test_the_greater_epoch_owns_the_slot_whatever_the_majority_says():
    stale = shard("a", epoch=1)
    views = [
        view("b", (0, LAST, shard("b", epoch=2))),
        view("a", (0, LAST, stale)),
        view("c", (0, LAST, stale)),
    ]
    assert owners(merge(views), 0, LAST) == ["b", "b"]


def test_epochs_decide_slot_by_slot():
    a, b = shard("a", epoch=1), shard("b", epoch=2)
    old = view("a", (0, 99, a), (100, LAST, b))
    new = view("b", (0, 49, a), (50, LAST, shard("b", epoch=3)))
    assert owners(merge([new, old]), 49, 50, 99, 100) == ["a", "b", "b", "b"]


@pytest.mark.parametrize("epoch", [0, 4])
def test_at_equal_epochs_the_majority_decides(epoch):
    a, b = shard("a", epoch=epoch), shard("b", epoch=epoch)
    views = [view("x", (0, LAST, b)), view("y", (0, LAST, b)), view("z", (0, LAST, a))]
    assert owners(merge(views), 0) == ["b"]


@pytest.mark.parametrize("epoch", [0, 4])
def test_at_equal_epochs_and_votes_the_newest_view_decides(epoch):
    a, b = shard("a", epoch=epoch), shard("b", epoch=epoch)
    views = [view("x", (0, LAST, a)), view("y", (0, LAST, b))]
    assert owners(merge(views), 0) == ["b"]
    assert owners(merge(views[::-1]), 0) == ["a"]


def test_the_snapshot_counts_with_its_epochs():
    current = topology((0, LAST, shard("b", epoch=5)))
    lagging = view("a", (0, LAST, shard("a", epoch=4)))
    assert owners(merge([lagging], current), 0) == ["b"]


def test_the_snapshot_has_no_vote_at_equal_epochs():
    current = topology((0, LAST, shard("a", epoch=5)))
    said = view("b", (0, LAST, shard("b", epoch=5)))
    assert owners(merge([said], current), 0) == ["b"]


def test_what_the_snapshot_knows_without_an_epoch_does_not_outlast_a_view():
    current = topology((0, LAST, shard("gone")))
    assert owners(merge([view("a", (0, 5, shard("a")))], current), 0, 6) == ["a", None]


def test_the_views_say_anew_who_the_replicas_are():
    current = topology((0, LAST, shard("a", "r1", epoch=5)))
    said = view("a", (0, LAST, shard("a", "r2", epoch=5)))
    known = merge([said], current)
    assert [one.address.host for one in known.slots[0].replicas] == ["r2"]
    assert address("r1") not in known.nodes


def test_all_ranges_of_a_primary_share_one_shard_after_a_merge():
    old = view("x", (0, 9, shard("a", epoch=1)), (10, 19, shard("b", epoch=1)))
    new = view("y", (0, 4, shard("a", "r", epoch=2)), (10, 19, shard("b", epoch=1)))
    known = merge([old, new])
    assert known.slots[0] is known.slots[9]
    assert known.slots[0].replicas == (node("r"),)
    assert len(known.shards) == 2
    assert [(c.start, c.end) for c in known.claims() if c.shard is known.slots[0]] == [(0, 9)]


def test_a_merge_tells_whether_anything_changed():
    replies = large_cluster(16)
    known = merge([parsed("p0", replies)])
    assert merge([parsed("r1", replies)], known).same_as(known)
    assert not merge([view("p0", (0, 5, shard("a", epoch=999)))], known).same_as(known)


# ------------------------------------------------------------------------------ the same cluster

OURS = topology((0, 99, shard("a", "r")), (100, LAST, shard("b")))
SEEDS = frozenset({address("s1"), address("s2"), address("s3")})


def stranger(asked):
    return view(asked, (0, LAST, shard("x", "y")))


def ours(asked):
    return view(asked, (0, LAST, shard("a")))


def test_a_view_that_shares_no_id_is_dropped():
    kept, replaced = same_cluster([ours("b"), stranger("c")], OURS, SEEDS)
    assert [one.asked.host for one in kept] == ["b"]
    assert not replaced


def test_strangers_alone_replace_nothing_unless_they_are_seeds():
    assert same_cluster([stranger("c"), stranger("d")], OURS, SEEDS) == ([], False)


def test_a_majority_of_the_seeds_that_answered_replaces_a_rebuilt_cluster():
    views = [ours("c"), stranger("s1"), stranger("s2"), ours("s3")]
    kept, replaced = same_cluster(views, OURS, SEEDS)
    assert replaced
    assert [one.asked.host for one in kept] == ["s1", "s2"]


def test_a_single_seed_whose_address_another_cluster_got_takes_nothing_over():
    seed = frozenset({address("s1")})
    kept, replaced = same_cluster([stranger("s1"), ours("b")], OURS, seed)
    assert not replaced
    assert [one.asked.host for one in kept] == ["b"]
    assert same_cluster([stranger("s1")], OURS, seed)[1], "nobody of ours is left: it was rebuilt"


def test_seeds_that_did_not_answer_count_against_a_majority():
    assert same_cluster([stranger("s1")], OURS, SEEDS) == ([], False)


@pytest.mark.parametrize("count", range(2, 8))
def test_a_rebuilt_cluster_is_adopted_with_any_number_of_seeds(count):
    seeds = [f"s{number}" for number in range(count)]
    views = [stranger(seed) for seed in seeds[:ASKED]]
    assert same_cluster(views, OURS, frozenset(map(address, seeds)))[1]


def test_half_of_the_seeds_is_no_majority():
    kept, replaced = same_cluster([stranger("s1"), ours("s2")], OURS, SEEDS)
    assert not replaced
    assert [one.asked.host for one in kept] == ["s2"]


def test_at_the_start_the_largest_family_of_views_is_the_cluster():
    kept, replaced = same_cluster([stranger("s1"), ours("s2"), ours("s3")], None, SEEDS)
    assert not replaced
    assert [one.asked.host for one in kept] == ["s2", "s3"]


def test_no_views_are_no_cluster():
    assert same_cluster([], None, SEEDS) == ([], False)


def test_a_node_that_knows_nobody_is_no_cluster():
    assert same_cluster([view("s1")], None, SEEDS) == ([], False)
    assert same_cluster([view("s1")], OURS, SEEDS)[0] == []


# ------------------------------------------------------------------------------------- snapshots


def test_ranges_with_gaps_are_told_as_they_are():
    known = topology((5, 6, shard("a")), (9, LAST, shard("b")))
    assert [claim[:2] for claim in known.claims()] == [(5, 6), (9, LAST)]
    assert topology().claims() == []


# ----------------------------------------------------------------------------------------- scale


def least_time(nodes, rounds=5):
    """The least CPU seconds to parse, merge and install a change in a cluster of so many nodes."""
    replies = large_cluster(nodes)
    current = merge([parsed("p0", replies)])
    times = []
    for _ in range(rounds):
        began = time.process_time()
        merge([parsed("p0", replies)], current).same_as(current)
        times.append(time.process_time() - began)
    return min(times)


def test_a_refresh_of_1000_nodes_grows_no_faster_than_the_cluster():
    # 50 ms is the goal; five times that, and five times the linear growth, are no flake.
    large = least_time(1000)
    assert large < 5 * 0.050
    assert large < 5 * 10 * least_time(100)


class Counting(Shard):
    """Counts how often shards are compared: a snapshot of n nodes must not compare n * n."""

    compared = 0

    def __eq__(self, other):
        Counting.compared += 1
        return self is other

    __hash__ = object.__hash__


def compared(shards):
    width = SLOTS // shards
    claims = [
        Claim(number * width, number * width + width - 1, Counting(node(f"p{number}")))
        for number in range(shards)
    ]
    Counting.compared = 0
    Topology.of(claims * 2)
    return Counting.compared


def test_a_snapshot_of_many_shards_compares_each_a_fixed_number_of_times():
    assert compared(1000) <= 10 * max(compared(100), 100)


def test_a_snapshot_knows_its_nodes_ids_and_ranges():
    assert set(OURS.nodes) == {address(name) for name in "arb"}
    assert OURS.ids == {"id-a", "id-r", "id-b"}
    assert [claim[:2] for claim in OURS.claims()] == [(0, 99), (100, LAST)]
    assert str(OURS.nodes[address("r")]) == "r:7000"
