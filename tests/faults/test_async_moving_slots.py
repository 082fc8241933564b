"""Slots move to and fro under 200 tasks: nothing fails, is lost, or is applied twice."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster
from clustercache._core.slots import key_slot
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults.aload import TASKS, AsyncLoad, ManyKeysTask, Task, check_applied, check_lag
from tests.faults.calls import tags_of
from tests.faults.checks import check_errors, check_prompt, slowest
from tests.faults.moves import FILLERS, Move, at_once, fillers, key_by_key, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.faults
SLOTS = 2
"""That move, with half of the sick tasks each."""


class Crowd:
    """All tasks of a slot, as one worker on it."""

    def __init__(self, tag: str, tasks: Sequence[Task]) -> None:
        self.tag = tag
        self.name = tag
        self._tasks = [task for task in tasks if task.tag == tag]

    @property
    def count(self) -> int:
        """How many calls are done, ten for each round of them all."""
        return sum(task.count for task in self._tasks) * 10 // len(self._tasks)


def move_all(
    lc: LocalCluster, load: AsyncLoad, how: Callable[[Move], None], rounds: int
) -> tuple[float, float]:
    """Move the slots there and back; return when that began and ended."""
    source, target, _ = lc.primaries
    begin = load.warm_up()
    for _ in range(rounds):
        for tag in sorted({task.tag for task in load.sick}):
            move = Move(lc, Crowd(tag, load.sick), key_slot(tag), source, target)
            how(move)
            how(move.back())
    return begin, monotonic()


async def drill(
    lc: LocalCluster,
    how: Callable[[Move], None],
    rounds: int,
    report: Callable[[str, Any], None],
) -> None:
    """Move loaded slots there and back under load, and check everything."""
    source, _, bystander = lc.primaries
    moving, healthy = tags_of(lc, source, SLOTS), tags_of(lc, bystander, TASKS)
    async with AsyncCluster.from_url(lc.url) as client:
        for tag in moving:
            await client.mset(dict.fromkeys(fillers(tag), b"x" * 100))
        make = partial(ManyKeysTask, strict=True)
        async with AsyncLoad(client, moving * (TASKS // SLOTS), healthy, make=make) as load:
            begin, end = await load.during(lambda: move_all(lc, load, how, rounds))
        assert not check_errors(load, lambda _: False)
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("seconds", end - begin)
        report("slowest_call", slowest(load.sick, begin, end))
        absent = await check_applied(load)
        assert absent == 0, f"{absent} acknowledged commands were lost"
        report("slowest_healthy_call", check_prompt(load, begin, end))
        report("longest_lag", check_lag(load, begin, end))
        left = [await client.exists(*fillers(tag)) for tag in moving]
        assert left == [FILLERS] * SLOTS


def test_nothing_fails_while_slots_move_key_by_key(report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        asyncio.run(drill(lc, key_by_key, 1, report))
        for code in ("ASK", "TRYAGAIN", "MOVED"):
            count = refusals(lc, code)
            report(code, count)
            assert count > 0, f"no server ever answered {code}: the drill shows nothing"


def test_nothing_fails_while_slots_move_at_once(report: Any) -> None:
    with LocalCluster(server=need_server("valkey").path) as lc:
        asyncio.run(drill(lc, at_once, 3, report))
        assert refusals(lc, "MOVED") > 0, "no slot moved under anyone's hands"
        assert refusals(lc, "ASK") == 0, "these moves know no half-moved slot"
