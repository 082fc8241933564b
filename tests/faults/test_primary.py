"""A primary dies, or stops answering, under load: no call that may be repeated fails."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.localcluster import LocalCluster
from tests.faults import load as loads
from tests.faults.load import BEFORE, Load, tags_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
THREADS = 4
AFTER = 2.0
"""Seconds of load after the promotion."""


def on_victim(lc: LocalCluster) -> tuple[Node, list[str], list[str]]:
    """Return the primary to be hit, tags on it, and tags on the others."""
    victim, *others = lc.primaries
    sick = tags_of(lc, victim, THREADS)
    healthy = [tag for node in others for tag in tags_of(lc, node, THREADS // len(others))]
    return victim, sick, healthy


def drill(lc: LocalCluster, fault: str, record: Any, **options: Any) -> None:
    """Hit a primary under load, and check everything."""
    victim, sick, healthy = on_victim(lc)
    with Cluster.from_url(lc.url, **options) as client, Load(client, sick, healthy) as load:
        load.run_for(BEFORE)
        moment = monotonic()
        (lc.kill if fault == "kill" else lc.stop)(victim)
        hit = monotonic()
        promotion = lc.wait_failover().at
        load.run_for(AFTER)
        end = monotonic()
        load.stop()
        # What began within a moment of the fault was under way when it struck.
        unknown = loads.check_errors(load, lambda call: call.start < hit + 0.1)
        record("unknown", len(unknown))
        if fault == "stop":
            lc.resume(victim)
        else:
            lc.restart(victim)
        lc.wait_ready()
        record("absent", loads.check_applied(load))
        record("recovery_seconds", loads.check_recovery(load, moment, promotion))
        if "full_coverage" not in options:
            loads.check_healthy(load, moment, end)


@contextmanager
def ticking(seconds: float) -> Iterator[list[int]]:
    """Let a signal timer tick in the main thread."""
    ticks: list[int] = [0]

    def tick(*_: object) -> None:
        ticks[0] += 1

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield ticks
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_no_repeatable_call_fails_when_a_primary_is_hit(fault: str, record_property: Any) -> None:
    with LocalCluster() as lc:
        drill(lc, fault, record_property)
