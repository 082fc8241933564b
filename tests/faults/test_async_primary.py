"""A primary dies, or stops answering, under 200 tasks: no call that may be repeated fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster
from clustercache.localcluster import LocalCluster
from tests.blocking_calls import blocking_calls
from tests.clusters import need_tls
from tests.faults.aload import PAUSE, TASKS, AsyncLoad, Task, check_applied, check_lag, half_piped
from tests.faults.checks import check_healthy, check_hit
from tests.faults.strikes import on_victim, strike, undo

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults


async def drill(
    lc: LocalCluster,
    fault: str,
    report: Callable[[str, Any], None],
    *,
    healthy_serve: bool = True,
    pause: float = PAUSE,
    make: Callable[..., Task] = Task,
) -> None:
    """Hit a primary under load, and check everything.

    Args:
        lc: The cluster.
        fault: "kill" or "stop".
        report: Takes the figures.
        healthy_serve: Whether the servers let the other shards serve meanwhile.
        pause: Seconds that each task rests between two calls.
        make: What makes a task.
    """
    victim, sick, healthy = await asyncio.to_thread(on_victim, lc, TASKS)
    async with (
        AsyncCluster.from_url(lc.url) as client,
        AsyncLoad(client, sick, healthy, pause=pause, make=make) as load,
    ):
        hit = await load.during(lambda: strike(lc, victim, fault, load))
        check_hit(load, hit, report)
        await asyncio.to_thread(undo, lc, victim, fault)
        report("absent", await check_applied(load))
        if healthy_serve:
            report("slowest_healthy_call", check_healthy(load, hit.before, hit.end))
            report("longest_lag", check_lag(load, hit.before, hit.end))


def test_no_repeatable_call_fails_when_a_primary_is_killed(report: Any) -> None:
    with LocalCluster() as lc:
        # They hardly rest: replies are outstanding then, whenever the fault comes.
        asyncio.run(drill(lc, "kill", report, pause=PAUSE / 8))


def test_no_repeatable_call_or_pipeline_fails_when_a_primary_is_stopped(report: Any) -> None:
    with LocalCluster() as lc:
        asyncio.run(drill(lc, "stop", report, make=half_piped))


def test_no_repeatable_call_fails_over_tls_when_a_primary_is_stopped(report: Any) -> None:
    with LocalCluster(server=need_tls().path, tls=True) as lc:
        asyncio.run(drill(lc, "stop", report))


def test_no_call_fails_or_blocks_the_loop_where_the_whole_cluster_refuses_meanwhile(
    report: Any,
) -> None:
    with LocalCluster(full_coverage=True) as lc, blocking_calls() as found:
        asyncio.run(drill(lc, "kill", report, healthy_serve=False, make=half_piped))
    assert not found
