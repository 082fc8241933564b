"""A primary dies, or stops answering, under load: no call that may be repeated fails."""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from clustercache import Cluster
from clustercache.exceptions import DeadlineExceededError
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server, need_tls
from tests.faults import load as loads
from tests.faults.load import Load, Worker, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
THREADS = 4
"""On the shard that is hit, and as many on the others."""
AFTER = 2.0
"""Seconds of load after the promotion."""
PROMOTED = 60.0
"""Seconds until the servers must have promoted the replica."""
_WON = re.compile(r"^\d+:\w (\d+ \w+ \d+ [\d:.]+) .*Failover election won", re.MULTILINE)


class Hit(NamedTuple):
    """Moments of a drill: just before and after the fault, the promotion, and the load's end."""

    before: float
    after: float
    promotion: float
    end: float


def on_victim(lc: LocalCluster) -> tuple[Node, list[str], list[str]]:
    """Return the primary to be hit, tags on it, and tags on the others."""
    victim, *others = lc.primaries
    sick = tags_of(lc, victim, THREADS)
    healthy = [tag for node in others for tag in tags_of(lc, node, THREADS // len(others))]
    return victim, sick, healthy


def promoted_at(node: Node) -> float:
    """Return when `node` was promoted, by its own log, in monotonic seconds."""
    stamps = _WON.findall((node.directory / "server.log").read_text())
    wall = datetime.strptime(stamps[-1], "%d %b %Y %H:%M:%S.%f")  # noqa: DTZ007 - as it is logged
    return wall.timestamp() - time.time() + monotonic()


def strike(lc: LocalCluster, victim: Node, fault: str, load: Load) -> Hit:
    """Hit a primary under load, and wait until another one served for a while."""
    (replica,) = lc.replicas_of(victim)
    load.warm_up()
    before = monotonic()
    (lc.kill if fault == "kill" else lc.stop)(victim)
    after = monotonic()
    # `wait_failover` asks all nodes a hundred times a second: that slows down what is measured.
    while replica.call("ROLE")[0] != "master":
        assert monotonic() < after + PROMOTED, f"{replica} is not promoted"
        load.run_for(0.05)
    load.run_for(AFTER)
    return Hit(before, after, promoted_at(replica), monotonic())


def drill(
    lc: LocalCluster,
    fault: str,
    report: Callable[[str, Any], None],
    *,
    healthy_serve: bool = True,
    main_works: bool = False,
    make: Callable[..., Worker] = Worker,
    **options: Any,
) -> None:
    """Hit a primary under load, and check everything.

    Args:
        lc: The cluster.
        fault: "kill" or "stop".
        report: Takes the figures.
        healthy_serve: Whether the servers let the other shards serve meanwhile.
        main_works: Whether this thread works on the sick shard.
        make: What makes a worker.
        options: For the client.
    """
    victim, sick, healthy = on_victim(lc)
    with (
        Cluster.from_url(lc.url, **options) as client,
        Load(client, sick, healthy, main_works=main_works, make=make) as load,
    ):
        hit = load.during(lambda: strike(lc, victim, fault, load))
        # A worker whose reply was on its way sends one call more before it meets the silence.
        unknown = loads.check_errors(load, lambda call: call.start < hit.after + 0.1)
        assert len(unknown) <= THREADS, "more than one outstanding reply per thread"
        if fault == "stop":
            lc.resume(victim)
        else:
            lc.restart(victim)
        lc.wait_ready()
        report("calls", sum(len(worker.calls) for worker in load.workers))
        report("unknown_outcomes", len(unknown))
        report("absent", loads.check_applied(load))
        report("promotion_seconds", hit.promotion - hit.after)
        report("recovery_seconds", loads.check_recovery(load, hit.before, hit.promotion))
        if healthy_serve:
            report("slowest_healthy_call", loads.check_healthy(load, hit.before, hit.end))


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


@pytest.mark.parametrize(("fault", "server"), [("kill", "redis-6.2"), ("stop", "valkey")])
def test_no_repeatable_call_fails_when_a_primary_is_hit(
    fault: str, server: str, report: Any
) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        drill(lc, fault, report)


def test_no_repeatable_call_fails_where_the_whole_cluster_refuses_meanwhile(report: Any) -> None:
    with LocalCluster(full_coverage=True) as lc:
        drill(lc, "kill", report, healthy_serve=False)


def test_no_repeatable_call_fails_over_tls_where_the_whole_cluster_refuses(report: Any) -> None:
    with LocalCluster(server=need_tls().path, tls=True, full_coverage=True) as lc:
        drill(lc, "stop", report, healthy_serve=False)


@pytest.mark.timeout(120, method="thread")  # the other method needs the signal that ticks here
def test_a_ticking_timer_neither_fails_nor_prolongs_a_call(report: Any) -> None:
    with LocalCluster() as lc:
        victim, (tag, *_), _ = on_victim(lc)
        with Cluster.from_url(lc.url, socket_timeout=0.3) as client, ticking(0.05) as ticks:
            client.get(f"value:{{{tag}}}")
            lc.stop(victim)
            start = monotonic()
            rescue = threading.Timer(5, lc.resume, [victim])
            rescue.start()
            with pytest.raises(DeadlineExceededError), client.deadline(1.0):
                client.get(f"value:{{{tag}}}")
            took = monotonic() - start
            suspected = client.stats()["nodes"][str(victim.address)]["suspected"]
            rescue.cancel()
            rescue.join()
            lc.resume(victim)
            assert ticks[0] >= 10
            assert took < 1.2, f"the timer kept a call for {took:.2f} s"
            assert suspected, "the timer hid the silence"
        lc.wait_ready()
        with ticking(0.05) as ticks:
            drill(lc, "stop", report, main_works=True)
        report("ticks", ticks[0])
        assert ticks[0] >= 100


def test_a_failover_at_the_default_node_timeout_fits_a_deadline_of_thirty_seconds(
    report: Any,
) -> None:
    with LocalCluster(node_timeout=15) as lc:
        drill(lc, "kill", report, deadline=30.0)
