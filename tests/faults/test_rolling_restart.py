"""Every node is restarted in turn under load, as for an upgrade."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults import load as loads
from tests.faults.load import Done, Load, await_calls, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.faults


class Ended(NamedTuple):
    """When a server was told to end, and when it ran again."""

    begin: float
    end: float


def restart_all(lc: LocalCluster, load: Load) -> list[Ended]:
    """Restart each node; a primary hands over to its replica first."""
    load.warm_up()
    ended = []
    for node in lc.nodes:
        if node.role == "primary":
            lc.failover(lc.replicas_of(node)[0])
        begin = monotonic()
        lc.restart(node, wait=False)
        ended.append(Ended(begin, monotonic()))
        lc.wait_ready()
        await_calls(load.workers, 20)
    return ended


@pytest.mark.parametrize("server", ["valkey", "redis-7.0"])
def test_a_rolling_restart_is_not_noticed(server: str, report: Callable[[str, Any], None]) -> None:
    with LocalCluster(server=need_server(server).path, appendonly=True) as lc:
        # There is no shard that stays well: all are restarted.
        tags = [tag for node in lc.primaries for tag in tags_of(lc, node, 3)][:8]
        with Cluster.from_url(lc.url) as client, Load(client, tags, []) as load:
            begin = monotonic()
            ended = load.during(lambda: restart_all(lc, load))

            def outstanding(call: Done) -> bool:
                return any(call.start <= one.end and call.end >= one.begin for one in ended)

            unknown = loads.check_errors(load, outstanding)
            report("calls", sum(len(worker.calls) for worker in load.workers))
            report("seconds", monotonic() - begin)
            report("unknown_outcomes", len(unknown))
            report("slowest_call", loads.slowest(load.workers, begin, monotonic()))
            absent = loads.check_applied(load)
            report("absent", absent)
            assert absent == 0, f"{absent} acknowledged commands were lost"
