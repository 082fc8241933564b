"""Which nodes a scan of the whole cluster still has to visit: no key is missed while slots move.

A cursor means something to one process on one node only. So a node is scanned in a *pass*, from
cursor 0 to cursor 0, and says what it holds before and after (`Passport`). A slot is settled by a
pass of a node that held all of it from the pass's beginning to its end:

- it owned the slot both times, and the same process answered with the same config epoch: who loses
  a slot and takes it back has a new epoch, and a process that restarted has a new seed for its
  hash tables, so that its old cursors mean nothing;
- the slot was not half-moved. Keys of a half-moved slot go one way, from its owner to the node
  that imports it: that node's pass, begun after the owner's pass ended, finds what the first one
  missed, and both together settle the slot.

A slot that is not settled stays due at whoever owns it then: the promoted replica, the node it was
moved to. So each key that is there from the beginning to the end of a scan is found at least once;
keys may be found more than once.

Source: the SCAN command's guarantees; CLUSTER NODES, "Serialization format" (its last field).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clustercache._core.address import Address
from clustercache._core.slots import SLOT_COUNT
from clustercache._core.topology import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clustercache._core.topology import Topology

_HALVES = 6
"""How often a slot may be found half-moved before it is left at that."""


class Passport(NamedTuple):
    """What a node says of itself: its process, its config epoch, and the slots it holds.

    `leaving` has for each half-moved slot that it owns the node that takes its keys, `arriving`
    the slots whose keys it takes.
    """

    run: str
    epoch: int
    slots: frozenset[int]
    leaving: Mapping[int, Node]
    arriving: frozenset[int] = frozenset()

    def holds(self, slot: int) -> bool:
        """Tell whether the node owns a slot or takes its keys."""
        return slot in self.slots or slot in self.arriving


def passport(nodes: str, run: str) -> Passport:
    """Return what a node's own line of its CLUSTER NODES says.

    Args:
        nodes: The whole reply.
        run: The id of its process.

    Raises:
        ValueError: The reply has not the form that the reference gives.
    """
    lines = [line.split() for line in nodes.splitlines()]
    mine = next((line for line in lines if len(line) > 7 and "myself" in line[2]), None)
    if mine is None:
        msg = "CLUSTER NODES has no line of the node itself"
        raise ValueError(msg)
    addresses = {line[0]: line[1].partition("@")[0] for line in lines}
    slots: set[int] = set()
    leaving: dict[int, Node] = {}
    arriving: set[int] = set()
    for word in mine[8:]:
        first, _, rest = word.strip("[]").partition("-")
        if rest.startswith(">-"):
            taker = rest.removeprefix(">-")
            leaving[int(first)] = Node(Address.parse(addresses[taker]), taker)
        elif rest.startswith("<-"):
            arriving.add(int(first))
        else:
            slots.update(range(int(first), int(rest or first) + 1))
    return Passport(run, int(mine[6]), frozenset(slots), leaving, frozenset(arriving))


class Pass:
    """One node's scan from cursor 0 to cursor 0.

    Attributes:
        node: Who is scanned.
        began: What it said of itself before.
        cursor: What to ask for next.
    """

    __slots__ = ("began", "cursor", "node")

    def __init__(self, node: Node, began: Passport) -> None:
        """Begin, with what the node says of itself now."""
        self.node = node
        self.began = began
        self.cursor = 0


class Scan:
    """What is settled, and what is due."""

    __slots__ = ("_due", "_halves")

    def __init__(self, slots: Iterable[int] = range(SLOT_COUNT)) -> None:
        """Nothing is settled yet.

        Args:
            slots: Those to scan.
        """
        # For each slot the node that takes its keys, if it was found half-moved; else None.
        self._due: dict[int, Node | None] = dict.fromkeys(slots)
        self._halves: dict[int, int] = {}

    def visits(self, topology: Topology) -> list[Node]:
        """Return the nodes to scan next; none is left when all slots with an owner are settled.

        Args:
            topology: The snapshot in force.
        """
        found: dict[Address, Node] = {}
        for slot, taker in self._due.items():
            shard = topology.slots[slot]
            node = taker or (shard.primary if shard else None)
            if node is not None:
                found.setdefault(node.address, node)
        return list(found.values())

    def ended(self, done: Pass, now: Passport) -> bool:
        """Settle what a pass settles that reached cursor 0; return whether it was anything.

        Args:
            done: The pass.
            now: What the node says of itself after it.
        """
        began, due = done.began, len(self._due)
        if (began.run, began.epoch) == (now.run, now.epoch):
            for slot, taker in list(self._due.items()):
                if taker is not None and taker.address == done.node.address:
                    self._taken(slot, began, now)
                elif taker is None and slot in began.slots and slot in now.slots:
                    self._owned(slot, began, now)
        return len(self._due) < due

    def takes(self, node: Node) -> bool:
        """Tell whether a node is visited for the keys that it takes from a slot's owner."""
        return any(taker is not None and taker.address == node.address
                   for taker in self._due.values())  # fmt: skip

    def lost(self, node: Node) -> None:
        """Go back to the owners of what a node was to take: it cannot be asked."""
        for slot, taker in list(self._due.items()):
            if taker is not None and taker.address == node.address:
                self._half(slot, None)

    def _owned(self, slot: int, began: Passport, now: Passport) -> None:
        """Judge a slot that a node owned before and after its pass."""
        if slot in now.leaving:
            self._half(slot, now.leaving[slot])
        elif slot in began.leaving:
            self._half(slot, None)  # it came to rest meanwhile: once more
        else:
            del self._due[slot]

    def _taken(self, slot: int, began: Passport, now: Passport) -> None:
        """Judge a slot after the pass of the node that its owner's keys went to."""
        if slot in now.leaving:
            self._half(slot, now.leaving[slot])  # it owns the slot by now, and another takes it
        elif began.holds(slot) and now.holds(slot):
            del self._due[slot]
        else:
            self._half(slot, None)

    def _half(self, slot: int, taker: Node | None) -> None:
        """Look elsewhere for a slot's keys; a mark that was left behind must not keep us for ever.

        Args:
            slot: The slot.
            taker: The node to look at, or None for the owner.
        """
        self._halves[slot] = self._halves.get(slot, 0) + 1
        if self._halves[slot] > _HALVES:
            del self._due[slot]
        else:
            self._due[slot] = taker
