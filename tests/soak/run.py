"""The soak itself: rounds of full load, each with a fault.

A round has chapters, with logs of their own, that are checked and removed while the next one runs:
at a hundred thousand calls a second a whole round's would be what fills the memory.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from clustercache import AsyncCluster
from tests.faults.aload import AsyncLoad, fetch_logs
from tests.faults.calls import tags_of
from tests.faults.strikes import PROMOTED
from tests.soak.callers import SoakTask
from tests.soak.report import Memory, Report, Round, excused

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.localcluster import LocalCluster

FAULTS = ("failover", "kill")
TASKS = 198
"""As many on each of three primaries."""
QUIET = 0.25
"""Of a round's time passes before its fault."""
CHAPTER = 3.0
"""Seconds."""
AFTER = 0.1
"""Seconds after a fault until whose start a call may still have met it."""


class Struck(NamedTuple):
    """When a fault began and had been done, and when its replica was a primary."""

    begin: float
    end: float
    promotion: float


def strike(lc: LocalCluster, fault: str, number: int) -> Struck:
    """Replace one primary by its replica, in good order or not; return when all is well again."""
    victim = lc.primaries[number % len(lc.primaries)]
    (replica,) = lc.replicas_of(victim)
    begin = monotonic()
    if fault == "failover":
        lc.failover(replica)
        end = promotion = monotonic()
    else:
        lc.kill(victim)
        end = monotonic()
        promotion = lc.wait_failover(PROMOTED).at
        lc.restart(victim)
    lc.wait_ready()
    return Struck(begin, end + AFTER, promotion)


class Soak:
    """Full load on a cluster, and rounds of faults.

    Args:
        lc: The cluster: three primaries with one replica each.
        seconds: How long a round takes, at the least.
        tell: Called with a line when there is something to tell.
    """

    def __init__(self, lc: LocalCluster, seconds: float, tell: Callable[[str], None]) -> None:
        self._lc = lc
        self._seconds = seconds
        self._tell = tell
        self._chapter = 0
        self.report = Report()

    async def run(self, rounds: int) -> Report:
        """Run so many rounds, and return what they saw."""
        tags = [tag for node in self._lc.primaries for tag in tags_of(self._lc, node, TASKS // 3)]
        async with (
            AsyncCluster.from_url(self._lc.url) as client,
            AsyncLoad(client, tags, [], pause=0.0, make=SoakTask) as load,
        ):
            for number in range(rounds):
                self.report.rounds.append(await self._round(load, number))
                self._tell(list(self.report.table())[-1])
        return self.report

    async def _round(self, load: AsyncLoad, number: int) -> Round:
        begin, before = monotonic(), sum(task.done for task in load.sick)
        fault = asyncio.create_task(self._fault(number))
        twice, absent = [], 0
        while not fault.done() or monotonic() < begin + self._seconds:
            await asyncio.sleep(CHAPTER)
            doubled, missing = await self._end_chapter(load)
            twice += doubled
            absent += missing
        end, struck = monotonic(), await fault
        failed = [call for task in load.sick for call in task.failed]
        stray = [call for call in failed if not excused(call, struck.begin, struck.end)]
        for task in load.sick:
            task.failed.clear()
        lag = load.lag.worst(begin, end)
        load.lag.forget()
        return Round(
            fault=FAULTS[number % len(FAULTS)],
            promotion=struck.promotion - struck.begin,
            calls=sum(task.done for task in load.sick) - before,
            seconds=end - begin,
            unknown=len(failed) - len(stray),
            stray=stray,
            twice=twice,
            absent=absent,
            lag=lag,
            memory=Memory.now(),
        )

    async def _fault(self, number: int) -> Struck:
        await asyncio.sleep(self._seconds * QUIET)
        fault, victim = FAULTS[number % len(FAULTS)], number // len(FAULTS)
        return await asyncio.to_thread(strike, self._lc, fault, victim)

    async def _end_chapter(self, load: AsyncLoad) -> tuple[list[str], int]:
        """Begin a new chapter; check the old one when none of its calls is under way any more."""
        self._chapter += 1
        for task in load.sick:
            task.chapter = self._chapter
        limit = monotonic() + load.client.config.deadline + 5
        while not all(task.began == self._chapter for task in load.sick):
            assert monotonic() < limit, "a call never came back"
            await asyncio.sleep(0.01)
        return await self._check(load, self._chapter - 1)

    @staticmethod
    async def _check(load: AsyncLoad, chapter: int) -> tuple[list[str], int]:
        """Return what was applied twice and how many are absent, and remove the logs."""
        doubled, missing = [], 0
        names = [task.log_of(chapter) for task in load.sick]
        logs = await fetch_logs(load.client, names)
        for task, name in zip(load.sick, names, strict=True):
            twice, absent = task.check(chapter, logs[name])
            doubled += twice
            missing += absent
        await load.client.unlink(*names)
        return doubled, missing
