"""Tasks that work on chosen shards and remember every call, and a watch on their loop; see `calls`.

What breaks the cluster blocks, so it runs in a thread beside the loop, and sees the load as it sees
one of threads.
"""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from tests.faults.batch_workers import PipedCaller
from tests.faults.calls import BEFORE, BaseLoad, Caller, ManyKeysCaller
from tests.faults.checks import count_absent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from clustercache import AsyncCluster
    from tests.faults.standstill import Watch

TASKS = 100
"""On the shard that is hit, and as many on the others."""
PAUSE = 0.04
"""Seconds that a task rests between two calls: the loop is then busy for half of its time."""
SMOOTH = 0.02
"""Seconds that nothing may keep the loop for."""
_LOGS_AT_ONCE = 20
_SHORT = 0.01
"""Seconds that a call takes at full load, roughly."""


class Task(Caller):
    """One task on one tag."""

    async def run(self, stop: threading.Event, pause: float, phase: float) -> None:
        """Call in turn until `stop`; an error never ends it.

        Args:
            stop: Ends it.
            pause: Seconds of rest between two calls.
            phase: From 0 to 1: a fault shall find tasks in each of their steps.
        """
        await asyncio.sleep(phase * len(self._steps) * max(pause, _SHORT))
        for number in itertools.count():
            if stop.is_set():
                return
            await self.call_once(number, f"{self.name}-{number}")
            await asyncio.sleep(pause)

    async def call_once(self, number: int, identity: str) -> None:
        """Make the call of a number, and remember it."""
        kind, ask, judge = self._steps[number % len(self._steps)]
        start = monotonic()
        error = None
        try:
            judge(await ask(identity), identity)
        except Exception as raised:  # noqa: BLE001 - judged later
            error = raised
        self._calls.append((kind, start, monotonic(), error, identity))


class ManyKeysTask(ManyKeysCaller, Task):
    """A task on several keys of its slot at once, too."""


class PipedTask(PipedCaller, Task):
    """A task that sends pipelines."""

    async def call_once(self, number: int, identity: str) -> None:
        start = monotonic()
        try:
            async with self.client.pipeline() as pipe:
                self._fill(pipe, identity)
                results = await pipe.execute(raise_on_error=False)
            outcomes = self._outcomes(results, identity)
        except Exception as raised:  # noqa: BLE001 - judged later
            outcomes = [("NEVER", raised)]
        self._remember(identity, start, outcomes)


def half_piped(client: AsyncCluster, tag: str, name: str) -> Task:
    """Return a task that sends pipelines, or a plain one, in turn."""
    return (PipedTask if int(name[1:]) % 2 else Task)(client, tag, name)


class Lag:
    """How late a loop's timers fire: whatever keeps it keeps everybody."""

    INTERVAL = 0.005

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._seen: list[tuple[float, float]] = []
        self._arm()

    def _arm(self) -> None:
        self._due = self._loop.time() + self.INTERVAL
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        self._seen.append((now, now - self._due))
        self._arm()

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def forget(self) -> None:
        """Forget what was seen: for who watches for long."""
        self._seen.clear()

    def worst(self, begin: float, end: float, watch: Watch | None = None) -> float:
        """Return the longest delay, in seconds, of the timers that fired from `begin` to `end`.

        Args:
            begin: In monotonic seconds.
            end: In monotonic seconds.
            watch: What knows when the machine stood still: that is no delay.
        """
        seen = ((at, late) for at, late in self._seen if begin <= at < end)
        if watch is None:
            return max(late for _, late in seen)
        return max(late - watch.within(at - late, at) for at, late in seen)


class AsyncLoad(BaseLoad):
    """Tasks as an asynchronous context: load runs inside it.

    Args:
        client: The client of all of them.
        sick: Tags of the shard that a fault will hit.
        healthy: Tags of the other shards.
        pause: Seconds that each rests between two calls.
        make: What makes a task of (client, tag, name).
    """

    def __init__(
        self,
        client: AsyncCluster,
        sick: Sequence[str],
        healthy: Sequence[str],
        *,
        pause: float = PAUSE,
        make: Callable[[AsyncCluster, str, str], Task] = Task,
    ) -> None:
        super().__init__(client, sick, healthy, make)
        self.pause = pause
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._begin()
        self.lag = Lag()
        self._tasks = [
            asyncio.create_task(one.run(self._stop, self.pause, n / len(group)), name=one.name)
            for group in (self.sick, self.healthy)
            for n, one in enumerate(group)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the load; calls under way finish first."""
        self._stop.set()
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        _, hung = await asyncio.wait(tasks, timeout=self.client.config.deadline + 5)
        self.lag.stop()
        await asyncio.to_thread(self._end)
        for task in hung:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=bool(hung))
        assert not hung, f"past every deadline, still in a call: {[t.get_name() for t in hung]}"
        self._finish()

    async def during(self, action: Callable[[], Any]) -> Any:
        """Return what `action` returns, done in a thread under load, and end the load."""
        try:
            return await asyncio.to_thread(action)
        finally:
            await self.stop()


async def fetch_logs(client: AsyncCluster, names: Sequence[str]) -> dict[str, dict[bytes, bytes]]:
    """Return what logs hold, some at a time: nobody else shall wait for them."""
    logs: dict[str, dict[bytes, bytes]] = {}
    for first in range(0, len(names), _LOGS_AT_ONCE):
        batch = names[first : first + _LOGS_AT_ONCE]
        found = await asyncio.gather(*(client.hgetall(name) for name in batch))
        logs.update(zip(batch, found, strict=True))
    return logs


async def check_applied(load: AsyncLoad) -> int:
    """Check that nothing was applied twice; return how many acknowledged commands are absent."""
    logs = await fetch_logs(load.client, sorted({worker.log for worker in load.workers}))
    return count_absent(load.workers, logs)


def check_lag(load: AsyncLoad, fault: float, end: float) -> float:
    """Check that the loop stayed smooth under a fault; return its longest delay, in seconds."""
    limit = max(SMOOTH, 3 * load.lag.worst(fault - BEFORE, fault, load.watch))
    worst = load.lag.worst(fault, end, load.watch)
    assert worst <= limit, f"the loop was kept for {worst:.3f} s (bound {limit:.3f} s)"
    return worst
