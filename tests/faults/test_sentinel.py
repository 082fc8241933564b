"""A primary outside a cluster dies under load: no call that may be repeated fails."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.faults.calls import WARM_UP, await_calls
from tests.faults.checks import check_errors, slowest
from tests.faults.load import Load, check_applied

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.localcluster import LocalReplication

pytestmark = pytest.mark.faults
TAGS = [f"t{number}" for number in range(8)]
"""One for each thread."""
AFTER = 1.0
"""Seconds of load after the promotion."""


def drill(lc: LocalReplication, strike: Callable[[], Any], report: Any) -> None:
    """Strike under the load of 8 threads; check every call, and that the successor serves."""
    with Cluster.from_url(lc.url) as client, Load(client, TAGS, []) as load:

        def act() -> tuple[float, float]:
            load.run_for(WARM_UP)
            strike()
            after = monotonic()
            await_calls(load.workers, 20)
            load.run_for(AFTER)
            return after, monotonic()

        struck, _ = load.during(act)
        unknown = check_errors(load, lambda call: call.start < struck + 0.1)
        assert len(unknown) <= len(TAGS), "more than one outstanding reply per thread"
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("unknown_outcomes", len(unknown))
        report("absent", check_applied(load))
        report("slowest", slowest(load.workers, 0.0, monotonic()))
        (primary,) = (node for node in lc.nodes if node.role == "primary")
        assert client.stats()["nodes"][str(primary.address)]["in_flight"] == 0


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_no_repeatable_call_fails_when_sentinels_replace_a_primary(fault: str, report: Any) -> None:
    with LocalCluster.sentinel(down_after=1.0) as lc:
        victim = lc.primary

        def strike() -> None:
            (lc.kill if fault == "kill" else lc.stop)(victim)
            report("promotion_seconds", lc.wait_failover().seconds)

        drill(lc, strike, report)


def test_no_repeatable_call_fails_when_sentinels_are_asked_for_a_failover(report: Any) -> None:
    with LocalCluster.sentinel() as lc, Cluster.from_url(lc.url) as idle:
        idle.set("k", "v")

        def strike() -> None:
            lc.failover()
            limit = monotonic() + 5.0
            while idle._map.topology.shards[0].primary.address != lc.primary.address:
                assert monotonic() < limit, "an idle client did not follow the announcement"
                idle._map.helper.rest(0.01)

        drill(lc, strike, report)


@pytest.mark.parametrize("fault", ["alive", "kill"])
def test_no_repeatable_call_fails_when_a_replica_is_promoted_by_hand(
    fault: str, report: Any
) -> None:
    with LocalCluster.replicated(replicas=2) as lc:
        victim, successor, _ = lc.nodes

        def strike() -> None:
            if fault == "kill":
                lc.kill(victim)
            lc.failover(successor)

        drill(lc, strike, report)
        assert lc.primary is successor
