"""Slots move to and fro under load: nothing fails, is lost, or is applied twice."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from clustercache import Cluster
from clustercache._core.slots import key_slot
from clustercache.admin.link import parse_info
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults import load as loads
from tests.faults.load import Load, ManyKeys, Worker, await_calls, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
THREADS = 4
"""On the slots that move, and as many on a shard that has no part in it."""
FILLERS = 240
BATCH = 20
"""Keys of a slot, and how many of them move at a time: it is half-moved for twelve batches."""
CALLS = 24
"""Calls of the slot's worker from one batch to the next: each of its steps, twice."""


class Move(NamedTuple):
    """A worker's slot, and where it goes."""

    lc: LocalCluster
    worker: Worker
    slot: int
    source: Node
    target: Node

    def back(self) -> Move:
        return self._replace(source=self.target, target=self.source)


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


STRICT = partial(ManyKeys, strict=True)


def drill(
    lc: LocalCluster,
    how: Callable[[Move], None],
    rounds: int,
    report: Callable[[str, Any], None],
    *,
    make: Callable[..., Worker] = STRICT,
) -> None:
    """Move loaded slots there and back under load, and check everything."""
    source, target, bystander = lc.primaries
    moving, healthy = tags_of(lc, source, THREADS), tags_of(lc, bystander, THREADS)
    with (
        Cluster.from_url(lc.url) as client,
        Load(client, moving, healthy, make=make) as load,
    ):
        for tag in moving:
            client.mset({f"fill:{{{tag}}}:{n}": b"x" * 100 for n in range(FILLERS)})

        def move_all() -> tuple[float, float]:
            begin = load.warm_up()
            for _ in range(rounds):
                for worker in load.sick:
                    move = Move(lc, worker, key_slot(worker.tag), source, target)
                    how(move)
                    how(move.back())
            return begin, monotonic()

        begin, end = load.during(move_all)
        unknown = loads.check_errors(load, lambda _: False)
        assert not unknown
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("seconds", end - begin)
        report("slowest_call", loads.slowest(load.sick, begin, end))
        absent = loads.check_applied(load)
        assert absent == 0, f"{absent} acknowledged commands were lost"
        report("slowest_healthy_call", loads.check_prompt(load, begin, end))
        left = [client.exists(*(f"fill:{{{tag}}}:{n}" for n in range(FILLERS))) for tag in moving]
        assert left == [FILLERS] * THREADS
        redirects = sum(node["redirects"] for node in client.stats()["nodes"].values())
        report("redirects", redirects)
        assert redirects >= 2 * THREADS * rounds


@pytest.mark.parametrize("server", ["valkey", "redis-6.2"])
def test_nothing_fails_while_slots_move_key_by_key(server: str, report: Any) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        drill(lc, key_by_key, 1, report)
        for code in ("ASK", "TRYAGAIN", "MOVED"):
            count = refusals(lc, code)
            report(code, count)
            assert count > 0, f"no server ever answered {code}: the drill shows nothing"


def test_nothing_fails_while_slots_move_at_once(report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        drill(lc, at_once, 5, report)
        assert refusals(lc, "ASK") == 0, "these moves know no half-moved slot"
