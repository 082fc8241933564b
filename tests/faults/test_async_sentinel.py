"""A primary outside a cluster dies under tasks: no call that may be repeated fails."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster
from clustercache.localcluster import LocalCluster
from tests.loops import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.localcluster import LocalReplication

pytestmark = pytest.mark.faults
TASKS = 50
SLACK = 0.5
"""Seconds after its deadline at which a call must be back, with all tasks on two cores."""


class Work:
    """One task's SETs and GETs on a key of its own; it remembers what went wrong."""

    def __init__(self, client: AsyncCluster, number: int) -> None:
        self._client = client
        self._key = f"key:{number}"
        self.count = 0
        self.slowest = 0.0
        self.errors: list[Exception] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            began = monotonic()
            try:
                assert await self._client.set(self._key, self.count) is True
                # Replication is asynchronous: an older value is no error, another's is.
                value = await self._client.get(self._key)
                assert value is None or 0 <= int(value) <= self.count
            except Exception as error:  # noqa: BLE001 - judged later
                self.errors.append(error)
            self.slowest = max(self.slowest, (monotonic() - began) / 2)
            self.count += 1
            await asyncio.sleep(0.002)


async def drill(lc: LocalReplication, strike: Callable[[], Any], report: Any) -> None:
    """Strike under 50 tasks; check that no call failed, and that all of them go on.

    Where sentinels announce it, a client that does nothing follows as well.
    """
    async with AsyncCluster.from_url(lc.url) as client, AsyncCluster.from_url(lc.url) as idle:
        await idle.initialize()
        stop = asyncio.Event()
        works = [Work(client, number) for number in range(TASKS)]
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work.run(stop))
            await calls(works, 50)
            await asyncio.to_thread(strike)
            await calls(works, 50)
            stop.set()
        report("calls", sum(2 * work.count for work in works))
        report("slowest", max(work.slowest for work in works))
        errors = [error for work in works for error in work.errors]
        assert not errors, f"{len(errors)} calls failed, the first: {errors[0]!r}"
        assert max(work.slowest for work in works) < client.config.deadline + SLACK
        primary = await asyncio.to_thread(lambda: lc.primary)
        assert client._topology().shards[0].primary.address == primary.address
        if client.config.service_name is not None:
            await until(lambda: idle._topology().shards[0].primary.address == primary.address)
        assert client.stats()["nodes"][str(primary.address)]["in_flight"] == 0


async def calls(works: list[Work], count: int) -> None:
    """Wait until each has made so many calls more."""
    goals = [work.count + count for work in works]
    await until(lambda: all(w.count >= g for w, g in zip(works, goals, strict=True)), 30.0)


def test_no_call_fails_when_sentinels_replace_a_primary(report: Any) -> None:
    with LocalCluster.sentinel(down_after=1.0) as lc:
        victim = lc.primary

        def strike() -> None:
            lc.kill(victim)
            report("promotion_seconds", lc.wait_failover().seconds)

        asyncio.run(drill(lc, strike, report))


@pytest.mark.parametrize("fault", ["alive", "kill"])
def test_no_call_fails_when_a_replica_is_promoted_by_hand(fault: str, report: Any) -> None:
    with LocalCluster.replicated(replicas=2) as lc:
        victim, successor, _ = lc.nodes

        def strike() -> None:
            if fault == "kill":
                lc.kill(victim)
            lc.failover(successor)

        asyncio.run(drill(lc, strike, report))
        assert lc.primary is successor
