"""Reads of many tasks never wait for a failover, whatever becomes of the primary."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster, ReadFrom
from clustercache.localcluster import LocalCluster
from tests.faults.strikes import PROMOTED, on_victim

if TYPE_CHECKING:
    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
TASKS = 20
"""On the shard that is hit, and as many on the others, for each policy."""
POLICIES = (ReadFrom.PRIMARY_THEN_REPLICA, ReadFrom.PREFER_REPLICA)
PAUSE = 0.02
BEFORE = 1.5
KILLED = 0.15
"""Seconds that a read may take, whatever is killed."""
TIMEOUT = 1.0


class Reader:
    """One task's reads: of one key, and now and then of several slots at once."""

    def __init__(self, client: AsyncCluster, keys: list[str]) -> None:
        self.client = client
        self.keys = keys
        self.calls: list[tuple[float, float]] = []

    async def run(self, over: asyncio.Event, phase: float) -> None:
        await asyncio.sleep(phase * PAUSE)
        while not over.is_set():
            start = monotonic()
            if len(self.calls) % 3:
                assert await self.client.get(self.keys[0]) == self.keys[0].encode()
            else:
                found = await self.client.mget(self.keys)
                assert found == [key.encode() for key in self.keys]
            self.calls.append((start, monotonic()))
            await asyncio.sleep(PAUSE)

    def slowest(self, begin: float, end: float) -> float:
        return max(b - a for a, b in self.calls if begin <= a < end)

    def waited(self, limit: float) -> int:
        return sum(b - a > limit for a, b in self.calls)


def strike(lc: LocalCluster, victim: Node, fault: str) -> None:
    (lc.kill if fault == "kill" else lc.stop)(victim)


async def copied(lc: LocalCluster) -> None:
    """Wait until every replica has what was written."""
    for primary in lc.primaries:
        for replica in lc.replicas_of(primary):
            async with asyncio.timeout(10):
                while replica.call("DBSIZE") < primary.call("DBSIZE"):
                    await asyncio.sleep(0.01)


async def drill(lc: LocalCluster, fault: str, report: Any) -> None:
    victim, sick, healthy = on_victim(lc, TASKS)
    (heir,) = lc.replicas_of(victim)
    over = asyncio.Event()
    async with (
        AsyncCluster.from_url(lc.url, read_from=POLICIES[0], socket_timeout=TIMEOUT) as one,
        AsyncCluster.from_url(lc.url, read_from=POLICIES[1], socket_timeout=TIMEOUT) as other,
    ):
        for tag in (*sick, *healthy):
            await one.mset({f"{{{tag}}}{n}": f"{{{tag}}}{n}" for n in range(3)})
        await copied(lc)

        def readers(tags: list[str]) -> list[Reader]:
            keys = [[f"{{{tag}}}{n}" for n in range(3)] for tag in tags]
            return [Reader(client, mine) for client in (one, other) for mine in keys]

        hit, spared = readers(sick), readers(healthy)
        async with asyncio.TaskGroup() as group:
            for each in (hit, spared):
                for number, reader in enumerate(each):
                    group.create_task(reader.run(over, number / len(each)))
            await asyncio.sleep(BEFORE)
            began = monotonic()
            await asyncio.to_thread(strike, lc, victim, fault)
            while (await asyncio.to_thread(heir.call, "ROLE"))[0] != "master":
                assert monotonic() < began + PROMOTED, f"{heir} is not promoted"
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.5)
            ended = monotonic()
            over.set()
    judge(hit, spared, fault, (began, ended), report)


def judge(
    hit: list[Reader], spared: list[Reader], fault: str, when: tuple[float, float], report: Any
) -> None:
    """Check how long reads took; a machine that is busy is slow before the fault, too."""
    began, ended = when
    usual = max(one.slowest(began - BEFORE / 2, began - PAUSE) for one in (*hit, *spared))
    worst = max(one.slowest(began - PAUSE, ended) for one in (*hit, *spared))
    limit = max(KILLED, 3 * usual)
    report("usual", usual)
    report("slowest_read", worst)
    report("reads", sum(len(one.calls) for one in (*hit, *spared)))
    if fault == "kill":
        assert worst <= limit, f"a read took {worst:.3f} s (bound {limit:.3f} s)"
        return
    assert worst <= TIMEOUT + limit, f"a read took {worst:.3f} s: more than one socket timeout"
    waited = [one.waited(max(limit, TIMEOUT / 2)) for one in hit]
    report("reads_that_waited", sum(waited))
    assert max(waited) <= 1, f"tasks waited more than once: {waited}"
    healthy = max(one.waited(max(limit, TIMEOUT / 2)) for one in spared)
    assert healthy == 0, "on a shard that was well"


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_reads_of_many_tasks_go_on_whatever_becomes_of_the_primary(fault: str, report: Any) -> None:
    with LocalCluster(full_coverage=False, node_timeout=1.0) as lc:
        asyncio.run(drill(lc, fault, report))
