"""Every node is restarted in turn under load, as for an upgrade."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults.calls import tags_of
from tests.faults.checks import check_errors, slowest
from tests.faults.load import Load, check_applied
from tests.faults.strikes import restart_all

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("server", ["valkey", "redis-7.0"])
def test_a_rolling_restart_is_not_noticed(server: str, report: Callable[[str, Any], None]) -> None:
    with LocalCluster(server=need_server(server).path, appendonly=True) as lc:
        # There is no shard that stays well: all are restarted.
        tags = [tag for node in lc.primaries for tag in tags_of(lc, node, 3)][:8]
        with Cluster.from_url(lc.url) as client, Load(client, tags, []) as load:
            begin = monotonic()
            ended = load.during(lambda: restart_all(lc, load))
            unknown = check_errors(load, lambda call: any(one.met(call) for one in ended))
            report("calls", sum(len(worker.calls) for worker in load.workers))
            report("seconds", monotonic() - begin)
            report("unknown_outcomes", len(unknown))
            report("slowest_call", slowest(load.workers, begin, monotonic()))
            absent = check_applied(load)
            report("absent", absent)
            assert absent == 0, f"{absent} acknowledged commands were lost"
