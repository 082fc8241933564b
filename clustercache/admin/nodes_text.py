"""CLUSTER NODES, one line a node, as the node that was asked sees it.

Source: the CLUSTER NODES command's reference, "Serialization format".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from clustercache._core.address import Address


class SlotRange(NamedTuple):
    """Slots from `start` to `end`, both included."""

    start: int
    end: int

    def __str__(self) -> str:
        return str(self.start) if self.start == self.end else f"{self.start}-{self.end}"

    @property
    def size(self) -> int:
        """How many slots these are."""
        return self.end - self.start + 1


def amount(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, as "1 slot" and "2 slots"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node in one node's view.

    Attributes:
        node_id: Forty hexadecimal digits.
        address: Where clients reach it; an empty host is the host that was asked.
        bus_port: Where other nodes reach it.
        flags: As "myself", "master", "slave", "fail", "fail?", "handshake", "noaddr".
        primary_id: Whose replica it is, or "".
        epoch: Its config epoch (a replica's is its primary's).
        connected: Whether the link from the node that was asked is up.
        slots: The slots that it owns.
        migrating: (slot, id of the node it goes to), of "myself" only.
        importing: (slot, id of the node it comes from), of "myself" only.
    """

    node_id: str
    address: Address
    bus_port: int
    flags: frozenset[str]
    primary_id: str
    epoch: int
    connected: bool
    slots: tuple[SlotRange, ...]
    migrating: tuple[tuple[int, str], ...]
    importing: tuple[tuple[int, str], ...]

    @property
    def is_primary(self) -> bool:
        """Whether it is a primary, with slots or without."""
        return "master" in self.flags

    @property
    def is_member(self) -> bool:
        """Whether it is known for good: not in handshake."""
        return "handshake" not in self.flags

    @property
    def has_failed(self) -> bool:
        """Whether a majority of primaries agreed that it is down."""
        return "fail" in self.flags

    @property
    def slot_count(self) -> int:
        """How many slots it owns."""
        return sum(slots.size for slots in self.slots)


def parse_nodes(text: str, asked_host: str) -> tuple[NodeLine, ...]:
    """Return the lines of a CLUSTER NODES reply; `asked_host` stands for a host left empty."""
    return tuple(_line(line.split(), asked_host) for line in text.splitlines() if line.strip())


def _line(fields: list[str], asked_host: str) -> NodeLine:
    node_id, endpoint, flags, primary, _ping, _pong, epoch, link, *slots = fields
    host, _, ports = endpoint.partition(",")[0].rpartition(":")
    port, _, bus_port = ports.partition("@")
    opened = [entry.strip("[]") for entry in slots if entry.startswith("[")]
    return NodeLine(
        node_id=node_id,
        address=Address(host.strip("[]") or asked_host, int(port)),
        bus_port=int(bus_port or int(port) + 10000),
        flags=frozenset(flags.split(",")),
        primary_id="" if primary == "-" else primary,
        epoch=int(epoch),
        connected=link == "connected",
        slots=tuple(_range(entry) for entry in slots if not entry.startswith("[")),
        migrating=_moves(opened, "->-"),
        importing=_moves(opened, "-<-"),
    )


def _range(text: str) -> SlotRange:
    start, _, end = text.partition("-")
    return SlotRange(int(start), int(end or start))


def _moves(entries: list[str], arrow: str) -> tuple[tuple[int, str], ...]:
    split = [entry.partition(arrow) for entry in entries]
    return tuple((int(slot), node) for slot, found, node in split if found)
