"""A primary dies, or stops answering, under load: no call that may be repeated fails."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from clustercache import Cluster
from clustercache.exceptions import DeadlineExceededError
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server, need_tls
from tests.faults.checks import check_healthy, check_hit
from tests.faults.load import Load, Worker, check_applied
from tests.faults.strikes import on_victim, strike, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.faults
THREADS = 4
"""On the shard that is hit, and as many on the others."""


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
    victim, sick, healthy = on_victim(lc, THREADS)
    with (
        Cluster.from_url(lc.url, **options) as client,
        Load(client, sick, healthy, main_works=main_works, make=make) as load,
    ):
        hit = load.during(lambda: strike(lc, victim, fault, load))
        check_hit(load, hit, report)
        undo(lc, victim, fault)
        report("absent", check_applied(load))
        if healthy_serve:
            report("slowest_healthy_call", check_healthy(load, hit.before, hit.end))


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
        victim, (tag, *_), _ = on_victim(lc, THREADS)
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


def test_a_failover_at_a_node_timeout_of_five_seconds_fits_the_default_deadline(
    report: Any,
) -> None:
    with LocalCluster(node_timeout=5.0) as lc:
        drill(lc, "kill", report)
