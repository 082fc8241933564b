"""A MOVED changes the map at once, and only until views arrive: they settle what is true."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clustercache._core.address import Address
from clustercache._core.topology import Claim, Node, Shard, Topology, View, merge, same_cluster
from tests.core.topologies import SLOTS, address, node, owners, shard, topology, view

LAST = SLOTS - 1
MAP = topology((0, 99, shard("a", "ra1", "ra2", epoch=1)), (100, LAST, shard("b", "rb", epoch=2)))


def test_a_redirect_to_another_primary_moves_that_slot_alone():
    moved = MAP.with_moved(7, address("b"))
    assert owners(moved, 6, 7, 8, 100) == ["a", "b", "a", "b"]
    assert moved.slots[7] is moved.slots[100]
    assert owners(MAP, 7) == ["a"]  # the old snapshot stays as it was


def test_a_redirect_to_the_owners_own_replica_is_a_promotion_of_the_whole_shard():
    moved = MAP.with_moved(7, address("ra1"))
    assert owners(moved, 0, 7, 99, 100) == ["ra1", "ra1", "ra1", "b"]
    assert moved.slots[0].replicas == (node("a"), node("ra2"))
    assert moved.nodes == MAP.nodes
    assert len(moved.shards) == 2


def test_a_redirect_to_an_unknown_node_makes_a_shard_without_epoch():
    stranger = Address("10.9.9.9", 7000)
    moved = MAP.with_moved(7, stranger)
    assert moved.slots[7].primary == Node(stranger)
    assert moved.slots[7].epoch == 0
    assert moved.nodes[stranger] is moved.slots[7].primary
    again = moved.with_moved(8, stranger)
    assert again.slots[8] is again.slots[7]
    assert len(again.shards) == 3


def test_a_redirect_to_another_shards_replica_takes_no_more_than_the_slot():
    moved = MAP.with_moved(7, address("rb"))
    assert owners(moved, 6, 7, 100) == ["a", "rb", "b"]
    assert moved.slots[7].primary.id == "id-rb"


def test_many_redirects_to_another_shards_replica_make_one_shard():
    moved = MAP
    for slot in range(10):
        moved = moved.with_moved(slot, address("rb"))
    assert len(moved.shards) == 3


def test_a_redirect_of_a_slot_that_nobody_owned_gives_it_an_owner():
    moved = topology((0, 99, shard("a"))).with_moved(5000, address("a"))
    assert owners(moved, 5000, 5001) == ["a", None]


def test_a_redirect_that_says_nothing_new_changes_nothing():
    assert MAP.with_moved(7, address("a")) is MAP


def test_views_confirm_or_undo_what_a_redirect_made_of_the_map():
    fresh = view("a", (0, 99, shard("a", epoch=1)), (100, LAST, shard("b", epoch=2)))
    for target in ("ra1", "rb", "unknown"):
        moved = MAP.with_moved(7, address(target))
        assert owners(merge([fresh], moved), 7) == ["a"]


def test_views_undo_a_stale_redirect_to_a_shard_of_a_greater_epoch():
    moved = MAP.with_moved(7, address("b"))
    fresh = view("a", (0, 99, shard("a", epoch=1)), (100, LAST, shard("b", epoch=2)))
    assert owners(merge([fresh, fresh, fresh], moved), 7) == ["a"]


BLOCKS = 8
WIDTH = SLOTS // BLOCKS


class Convergence(RuleBasedStateMachine):
    """A cluster that changes, nodes that lag behind it, and a client's map of it."""

    with_epochs = True

    @initialize()
    def begin(self):
        self.members = [[f"s{shard}n{member}" for member in range(3)] for shard in range(3)]
        self.epochs = [1, 2, 3]
        self.blocks = [block % 3 for block in range(BLOCKS)]
        self.heard = {name: self.truth() for members in self.members for name in members}
        self.map = merge([self.view_of("s0n0")])

    def truth(self):
        shards = [
            Shard(node(members[0]), tuple(map(node, members[1:])), epoch * self.with_epochs)
            for members, epoch in zip(self.members, self.epochs, strict=True)
        ]
        return tuple(
            Claim(block * WIDTH, (block + 1) * WIDTH - 1, shards[owner])
            for block, owner in enumerate(self.blocks)
        )

    def view_of(self, name):
        return View(address(name), self.heard[name])

    def adopt(self, names):
        views, replaced = same_cluster(list(map(self.view_of, names)), self.map, frozenset())
        assert len(views) == len(names)
        assert not replaced
        self.map = merge(views, self.map)

    def bump(self, shard):
        self.epochs[shard] = max(self.epochs) + 1
        # Who takes slots or is promoted knows it first.
        self.heard[self.members[shard][0]] = self.truth()

    shards = st.integers(0, 2)
    names = st.builds("s{}n{}".format, shards, shards)

    @rule(block=st.integers(0, BLOCKS - 1), to=shards)
    def move(self, block, to):
        if self.blocks[block] != to:
            self.blocks[block] = to
            self.bump(to)

    @rule(shard=shards, member=st.integers(1, 2))
    def promote(self, shard, member):
        members = self.members[shard]
        members.insert(0, members.pop(member))
        self.bump(shard)

    @rule(name=names)
    def gossip(self, name):
        self.heard[name] = self.truth()

    @rule(slot=st.integers(0, LAST))
    def follow_a_redirect(self, slot):
        before = owners(self.map, slot)
        owner = self.truth()[slot // WIDTH].shard.primary.address
        self.map = self.map.with_moved(slot, owner)
        assert owners(self.map, slot) == [owner.host]
        if before == [owner.host]:
            assert self.map is self.map.with_moved(slot, owner)

    @rule(asked=st.lists(names, min_size=1, max_size=3, unique=True))
    def refresh_from_nodes_that_may_lag(self, asked):
        self.adopt(asked)

    @rule(
        asked=st.lists(names, min_size=3, max_size=3, unique=True), order=st.permutations(range(3))
    )
    def refresh_from_a_fresh_majority(self, asked, order):
        asked = [asked[place] for place in order]
        for name in asked[:2]:
            self.gossip(name)
        self.adopt(sorted(asked))
        wanted = Topology.of(self.truth())
        starts = range(0, SLOTS, WIDTH)
        assert owners(self.map, *starts) == owners(wanted, *starts)
        assert owners(self.map, LAST) == owners(wanted, LAST)

    @invariant()
    def every_slot_has_an_owner_whose_address_is_known(self):
        assert None not in self.map.slots
        assert all(one.primary.address in self.map.nodes for one in self.map.shards)
        assert all(claim.shard in self.map.shards for claim in self.map.claims())

    @rule(asked=st.lists(names, min_size=1, max_size=3, unique=True))
    def the_same_views_again_change_nothing(self, asked):
        views = [self.view_of(name) for name in asked]
        self.map = merge(views, self.map)
        assert merge(views, self.map).same_as(self.map)


class ConvergenceWithoutEpochs(Convergence):
    """The same where CLUSTER NODES is denied: the majority of the views decides."""

    with_epochs = False


LIMITS = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestConvergence = Convergence.TestCase
TestConvergence.settings = LIMITS
TestConvergenceWithoutEpochs = ConvergenceWithoutEpochs.TestCase
TestConvergenceWithoutEpochs.settings = LIMITS
