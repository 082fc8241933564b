"""Every node is restarted in turn under 200 tasks, as for an upgrade."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import AsyncCluster
from clustercache.localcluster import LocalCluster
from tests.faults.aload import TASKS, AsyncLoad, check_applied
from tests.faults.calls import tags_of
from tests.faults.checks import check_errors, slowest
from tests.faults.strikes import restart_all

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults


async def drill(lc: LocalCluster, report: Callable[[str, Any], None]) -> None:
    """Restart all nodes under load, and check everything."""
    # There is no shard that stays well: all are restarted.
    tags = [tag for node in lc.primaries for tag in tags_of(lc, node, TASKS * 2 // 3)]
    async with AsyncCluster.from_url(lc.url) as client, AsyncLoad(client, tags, []) as load:
        begin = monotonic()
        ended = await load.during(lambda: restart_all(lc, load))
        unknown = check_errors(load, lambda call: any(one.met(call) for one in ended))
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("seconds", monotonic() - begin)
        report("unknown_outcomes", len(unknown))
        report("slowest_call", slowest(load.workers, begin, monotonic()))
        absent = await check_applied(load)
        report("absent", absent)
        assert absent == 0, f"{absent} acknowledged commands were lost"


def test_a_rolling_restart_is_not_noticed(report: Any) -> None:
    with LocalCluster(appendonly=True) as lc:
        asyncio.run(drill(lc, report))
