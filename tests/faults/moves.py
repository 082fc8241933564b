"""Slots that move while others work on them, as a thread moves them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache.admin.link import parse_info
from tests.faults.calls import await_calls

if TYPE_CHECKING:
    from clustercache.localcluster import LocalCluster, Node

FILLERS = 240
BATCH = 20
"""Keys of a slot, and how many of them move at a time: it is half-moved for twelve batches."""
CALLS = 24
"""Calls of the slot's worker from one batch to the next: each of its steps, twice."""


class Move(NamedTuple):
    """A slot, who works on it, and where it goes."""

    lc: LocalCluster
    worker: Any
    slot: int
    source: Node
    target: Node

    def back(self) -> Move:
        return self._replace(source=self.target, target=self.source)


def fillers(tag: str) -> list[str]:
    """Return keys that make a tag's slot take its time."""
    return [f"fill:{{{tag}}}:{number}" for number in range(FILLERS)]


def key_by_key(move: Move) -> None:
    """Move a slot as every version can: opened, its keys in batches, and closed."""
    lc, worker, slot, source, target = move
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    await_calls([worker], CALLS)
    while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, BATCH):
        source.call("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
        await_calls([worker], CALLS)
    for node in (target, source, *lc.primaries):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
    await_calls([worker], CALLS)


def at_once(move: Move) -> None:
    """Move a slot as Valkey 9 can."""
    _, worker, slot, source, target = move
    source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.node_id)
    limit = monotonic() + 20
    while (state := newest_state(source, slot)) != "success":
        assert state not in {"failed", "cancelled"}, state
        assert monotonic() < limit, f"slot {slot} is still in {state}"
        await_calls([worker], 1)
    await_calls([worker], CALLS)


def newest_state(node: Node, slot: int) -> str:
    """Return how the last migration of a slot goes."""
    jobs = [
        dict(zip(job[::2], job[1::2], strict=True))
        for job in node.call("CLUSTER", "GETSLOTMIGRATIONS")
    ]
    mine = [job for job in jobs if job["slot_ranges"] == f"{slot}-{slot}"]
    return max(mine, key=lambda job: int(job["create_time"]))["state"]


def refusals(lc: LocalCluster, code: str) -> int:
    """Return how often the servers answered with an error's code."""
    infos = [parse_info(node.call("INFO", "errorstats")) for node in lc.nodes]
    counts = [info.get(f"errorstat_{code}", "count=0") for info in infos]
    return sum(int(count.removeprefix("count=")) for count in counts)
