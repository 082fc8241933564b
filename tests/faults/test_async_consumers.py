"""Consumers that are tasks block while their primary dies, and while some of them are cancelled."""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster
from clustercache.exceptions import OutcomeUnknownError
from clustercache.localcluster import LocalCluster
from tests.faults.calls import tags_of
from tests.faults.test_consumers import END, PROMOTED, check_served

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
CONSUMERS = 20


class Consumer:
    """Pops elements until it gets END; what it is told is judged later."""

    def __init__(self, client: AsyncCluster, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.served: list[tuple[bytes, float]] = []
        self.errors: list[Exception] = []

    async def run(self) -> None:
        while not self.served or self.served[-1][0] != END:
            try:
                _, value = await self.client.blpop(self.queue)
            except OutcomeUnknownError as error:
                self.errors.append(error)
            else:
                self.served.append((value, monotonic()))


class Producer:
    """Pushes elements, each once."""

    def __init__(self, client: AsyncCluster, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.numbers = itertools.count()
        self.acknowledged: dict[bytes, float] = {}
        self.unknown: set[bytes] = set()

    async def push(self, until: Callable[[], bool]) -> None:
        """Push until a condition holds."""
        while not until():
            value = b"%d" % next(self.numbers)
            try:
                await self.client.rpush(self.queue, value)
            except OutcomeUnknownError:
                self.unknown.add(value)
            else:
                self.acknowledged[value] = monotonic()
            await asyncio.sleep(0.001)


def after(seconds: float) -> Callable[[], bool]:
    end = monotonic() + seconds
    return lambda: monotonic() > end


async def end(client: AsyncCluster, queue: str, tasks: list[asyncio.Task[None]]) -> None:
    """Let each consumer stop, once it has served what was pushed before."""
    waiting = set(tasks)
    limit = monotonic() + 20
    while waiting:
        assert monotonic() < limit, f"{len(waiting)} consumers hang"
        await client.rpush(queue, *[END] * len(waiting))
        done, waiting = await asyncio.wait(waiting, timeout=2.0)
        for one in done:
            one.result()


async def promoted(replica: Node) -> None:
    """Wait until a replica is a primary."""
    async with asyncio.timeout(PROMOTED):
        while (await asyncio.to_thread(replica.call, "ROLE"))[0] != "master":
            await asyncio.sleep(0.05)


async def drill(lc: LocalCluster, fault: str, report: Any) -> None:
    victim = lc.primaries[0]
    (replica,) = lc.replicas_of(victim)
    (tag,) = tags_of(lc, victim, 1)
    queue, idle = f"queue:{{{tag}}}", f"idle:{{{tag}}}"
    async with AsyncCluster.from_url(lc.url) as client:
        busy = [Consumer(client, queue) for _ in range(CONSUMERS)]
        idler, producer = Consumer(client, idle), Producer(client, queue)
        tasks = [asyncio.create_task(one.run()) for one in [*busy, idler]]
        cancelled = [asyncio.create_task(client.blpop(idle)) for _ in range(5)]
        await producer.push(after(0.5))
        for one in cancelled:
            one.cancel()
        await producer.push(after(0.5))
        hit = monotonic()
        await asyncio.to_thread(lc.kill if fault == "kill" else lc.stop, victim)
        watch = asyncio.create_task(promoted(replica))
        await producer.push(watch.done)
        await watch
        promotion = monotonic()
        await producer.push(after(1.0))
        await end(client, queue, tasks[:-1])
        await end(client, idle, tasks[-1:])
        await asyncio.gather(*cancelled, return_exceptions=True)
        assert all(one.cancelled() for one in cancelled)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        leases = [pool.apart() for pool in client._here().map.pools.values()]
        assert sum(pool.outstanding for pool in leases) == 0
    errors = [error for one in [*busy, idler] for error in one.errors]
    report("pushed", len(producer.acknowledged))
    report("unknown_pops", len(errors))
    assert all(error.applied == "maybe" for error in errors)
    assert all(len(one.errors) <= 1 for one in [*busy, idler])
    assert len(left) <= 2, f"more than the helper's are left: {left}"
    check_served(producer, busy, hit, promotion, report)


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_consumers_go_on_when_their_primary_is_hit(
    fault: str, report: Callable[[str, Any], None]
) -> None:
    with LocalCluster(node_timeout=1.0) as lc:
        asyncio.run(drill(lc, fault, report))
