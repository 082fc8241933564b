"""Who owns which slot, as a map or a node's reply says, and where two of them differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from clustercache._core.slots import SLOT_COUNT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.topology import Topology

_T = TypeVar("_T")


def primaries_of(topology: Topology) -> list[Any]:
    """Return the address of each slot's primary on a map; None where there is none."""
    return [shard and shard.primary.address for shard in topology.slots]


def owners_of(slots: Any) -> list[Any]:
    """Return who owns each slot, from a reply to CLUSTER SLOTS; None where nobody, or nothing."""
    owners: list[Any] = [None] * SLOT_COUNT
    for start, end, primary, *_ in slots or ():
        # The id stays when the address changes; Redis 3 has none.
        owners[start : end + 1] = [tuple(primary[2:3] or primary[:2])] * (end + 1 - start)
    return owners


def changed(old: Sequence[_T], new: Sequence[_T]) -> list[int]:
    """Return where two lists of all slots' owners differ."""
    return [slot for slot in range(SLOT_COUNT) if old[slot] != new[slot]]
