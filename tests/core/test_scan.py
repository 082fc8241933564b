"""No key is missed by a scan, whatever the slots, the keys and the processes do meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.scan import Pass, Passport, Scan, passport
from clustercache._core.topology import Node
from tests.core.topologies import node, shard, topology

SLOTS = range(4)


def paper(*slots, run="r", epoch=1, leaving=None, arriving=()):
    return Passport(run, epoch, frozenset(slots), leaving or {}, frozenset(arriving))


def scanned(scan, name, began, now):
    return scan.ended(Pass(node(name), began), now)


def hosts(nodes):
    return [one.address.host for one in nodes]


KNOWN = topology((0, 1, shard("a", "a1")), (2, 3, shard("b")))


def test_every_owner_is_visited_and_settles_its_slots():
    scan = Scan(SLOTS)
    assert hosts(scan.visits(KNOWN)) == ["a", "b"]
    assert scanned(scan, "a", paper(0, 1), paper(0, 1))
    assert hosts(scan.visits(KNOWN)) == ["b"]
    assert scanned(scan, "b", paper(2, 3), paper(2, 3))
    assert scan.visits(KNOWN) == []


def test_slots_without_an_owner_are_not_waited_for():
    assert Scan(range(4, 8)).visits(KNOWN) == []


@pytest.mark.parametrize("other", [{"run": "restarted"}, {"epoch": 2}])
def test_a_pass_of_two_processes_or_epochs_settles_nothing(other):
    scan = Scan(SLOTS)
    assert not scanned(scan, "a", paper(0, 1), paper(0, 1, **other))
    assert hosts(scan.visits(KNOWN)) == ["a", "b"]


def test_a_slot_that_left_or_came_is_due_at_its_new_owner():
    scan = Scan(SLOTS)
    scanned(scan, "a", paper(0, 1), paper(0))
    scanned(scan, "b", paper(2, 3), paper(1, 2, 3))
    after = topology((0, 0, shard("a")), (1, 3, shard("b")))
    assert hosts(scan.visits(after)) == ["b"]
    scanned(scan, "b", paper(1, 2, 3), paper(1, 2, 3))
    assert scan.visits(after) == []


def test_a_half_moved_slot_is_looked_for_at_both_ends():
    scan = Scan([0])
    leaving = {0: node("b")}
    assert not scanned(scan, "a", paper(0, leaving=leaving), paper(0, leaving=leaving))
    assert hosts(scan.visits(KNOWN)) == ["b"]
    assert scan.takes(node("b"))
    assert not scan.takes(node("a"))
    assert scanned(scan, "b", paper(2, arriving=[0]), paper(2, arriving=[0]))
    assert scan.visits(KNOWN) == []


def test_a_taker_that_owns_the_slot_by_now_settles_it():
    scan = Scan([0])
    scanned(scan, "a", paper(0), paper(0, leaving={0: node("b")}))
    assert scanned(scan, "b", paper(arriving=[0]), paper(0))


def test_a_taker_that_gives_the_slot_on_sends_us_on():
    scan = Scan([0])
    scanned(scan, "a", paper(0), paper(0, leaving={0: node("b")}))
    scanned(scan, "b", paper(0), paper(0, leaving={0: node("c")}))
    assert hosts(scan.visits(KNOWN)) == ["c"]


@pytest.mark.parametrize("how", ["lost", "cancelled"])
def test_without_its_taker_a_slot_is_due_at_its_owner(how):
    scan = Scan([0])
    scanned(scan, "a", paper(0), paper(0, leaving={0: node("b")}))
    if how == "lost":
        scan.lost(node("b"))
    else:
        scanned(scan, "b", paper(2), paper(2))
    assert hosts(scan.visits(KNOWN)) == ["a"]


def test_a_move_that_ended_during_the_pass_asks_for_another():
    scan = Scan([0])
    assert not scanned(scan, "a", paper(0, leaving={0: node("b")}), paper(0))
    assert hosts(scan.visits(KNOWN)) == ["a"]


def test_a_mark_that_was_left_behind_does_not_keep_a_scan_for_ever():
    scan = Scan([0])
    leaving = {0: node("b")}
    for _ in range(20):
        for one in scan.visits(KNOWN):
            mine = paper(0, leaving=leaving) if one == node("a") else paper(2)
            scan.ended(Pass(one, mine), mine)
    assert scan.visits(KNOWN) == []


# Passports -----------------------------------------------------------------------------------

NODES = """\
id-a 10.0.0.1:7000@17000,host-a master - 0 0 1 connected 0-5 8
id-b 10.0.0.2:7001@17001 myself,master - 0 0 7 connected 100 200-201 [100->-id-a] [9-<-id-a]
"""


def test_a_passport_is_read_from_a_nodes_own_line():
    read = passport(NODES, "run")
    assert read == Passport(
        "run",
        7,
        frozenset({100, 200, 201}),
        {100: Node(Address("10.0.0.1", 7000), "id-a")},
        frozenset({9}),
    )
    assert [read.holds(slot) for slot in (100, 9, 8)] == [True, True, False]


@pytest.mark.parametrize("text", ["", "one two", "id-a h:1@2 master - 0 0 1 connected"])
def test_a_reply_without_the_nodes_own_line_is_refused(text):
    with pytest.raises(ValueError, match="no line of the node itself"):
        passport(text, "run")


# A whole cluster -----------------------------------------------------------------------------


@dataclass
class Server:
    """One process: its keys in the order of its own hash tables."""

    name: str
    run: int
    seed: int
    epoch: int = 1
    owned: set = field(default_factory=set)
    leaving: dict = field(default_factory=dict)
    arriving: set = field(default_factory=set)
    keys: set = field(default_factory=set)

    def order(self, key):
        return hash((self.seed, key)) % 97 + 1

    def scan(self, cursor):
        """Return the next two places of the table."""
        later = sorted({self.order(key) for key in self.keys if self.order(key) > cursor})
        places = later[:2]
        found = [key for key in self.keys if self.order(key) in places]
        return (places[-1] if len(later) > 2 else 0), found

    def passport(self):
        leaving = {slot: node(name) for slot, name in self.leaving.items()}
        return paper(*self.owned, run=self.run, epoch=self.epoch, leaving=leaving,
                     arriving=self.arriving)  # fmt: skip


class World:
    """A small cluster, and what may happen to it."""

    def __init__(self, data):
        self.data = data
        self.fresh = count(10)
        self.servers = {name: Server(name, n, n) for n, name in enumerate("abc")}
        self.keys = {(slot, n) for slot in SLOTS for n in range(4)}
        for slot in SLOTS:
            owner = self.servers["ab"[slot % 2]]
            owner.owned.add(slot)
            owner.keys |= {key for key in self.keys if key[0] == slot}

    def topology(self):
        owned = [(slot, server) for server in self.servers.values() for slot in server.owned]
        shards = {server.name: shard(server.name) for _, server in owned}
        return topology(*sorted((slot, slot, shards[s.name]) for slot, s in owned))

    def owner(self, slot):
        return next(s for s in self.servers.values() if slot in s.owned)

    def happen(self):
        events = [self.half, self.key, self.finish, self.at_once, self.restart, self.promote]
        self.data.draw(st.sampled_from(events))()

    def slot(self):
        return self.data.draw(st.sampled_from(SLOTS))

    def other(self, server):
        names = sorted(set(self.servers) - {server.name})
        return self.servers[self.data.draw(st.sampled_from(names))]

    def take(self, slot, source, target):
        source.owned.discard(slot)
        source.leaving.pop(slot, None)
        target.arriving.discard(slot)
        target.owned.add(slot)
        moved = {key for key in source.keys if key[0] == slot}
        source.keys -= moved
        target.keys |= moved
        self.bump(target)

    def bump(self, server):
        highest = max(s.epoch for s in self.servers.values())
        alone = [s.epoch for s in self.servers.values()].count(highest) == 1
        if server.epoch != highest or not alone:
            server.epoch = highest + 1

    def half(self):
        slot = self.slot()
        source = self.owner(slot)
        if slot not in source.leaving:
            target = self.other(source)
            target.arriving.add(slot)
            source.leaving[slot] = target.name

    def key(self):
        moving = [(s, slot) for s in self.servers.values() for slot in s.leaving]
        for source, slot in moving:
            left = sorted(key for key in source.keys if key[0] == slot)
            if left:
                moved = self.data.draw(st.sampled_from(left))
                source.keys.discard(moved)
                self.servers[source.leaving[slot]].keys.add(moved)

    def finish(self):
        moving = [(s, slot) for s in self.servers.values() for slot in s.leaving]
        for source, slot in moving[:1]:
            self.take(slot, source, self.servers[source.leaving[slot]])

    def at_once(self):
        slot = self.slot()
        source = self.owner(slot)
        if slot not in source.leaving:
            self.take(slot, source, self.other(source))

    def restart(self):
        server = self.servers[self.data.draw(st.sampled_from(sorted(self.servers)))]
        server.run = server.seed = next(self.fresh)

    def promote(self):
        """Let a replica, a process of another name, take a primary's place."""
        old = self.servers.pop(self.data.draw(st.sampled_from(sorted(self.servers))))
        name = f"n{next(self.fresh)}"
        new = Server(name, next(self.fresh), next(self.fresh), old.epoch, old.owned, old.leaving,
                     old.arriving, old.keys)  # fmt: skip
        self.servers[name] = new
        self.bump(new)
        for server in self.servers.values():
            for slot, taker in server.leaving.items():
                if taker == old.name:
                    server.leaving[slot] = name


class Scanner:
    """What a shell does, with something happening between any two steps."""

    def __init__(self, world, data):
        self.world, self.data = world, data
        self.scan = Scan(SLOTS)
        self.found = set()
        self.events = data.draw(st.integers(0, 25))

    def server(self, one):
        """The process that is visited, or None once it is gone."""
        if self.events and self.data.draw(st.booleans()):
            self.events -= 1
            self.world.happen()
        server = self.world.servers.get(one.address.host)
        if server is None:
            self.scan.lost(one)
        return server

    def begin(self, group):
        for one in group:
            server = self.server(one)
            if server is not None:
                yield Pass(one, server.passport())

    def step(self, done):
        """Take one step of a pass; return whether there are more."""
        server = self.server(done.node)
        if server is None:
            return False
        done.cursor, keys = server.scan(done.cursor)
        self.found |= set(keys)
        if done.cursor:
            return True
        server = self.server(done.node)
        if server is not None:
            self.scan.ended(done, server.passport())
        return False

    def run(self, *, parallel):
        for _ in range(200):
            nodes = self.scan.visits(self.world.topology())
            for group in [nodes] if parallel else [[one] for one in nodes]:
                going = list(self.begin(group))
                while going:
                    going = [done for done in going if self.step(done)]


@settings(max_examples=300)
@given(data=st.data(), parallel=st.booleans())
def test_no_key_is_missed_whatever_happens(data, parallel):
    world = World(data)
    scanner = Scanner(world, data)
    scanner.run(parallel=parallel)
    assert scanner.scan.visits(world.topology()) == []
    assert world.keys <= scanner.found
