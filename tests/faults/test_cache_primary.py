"""A primary dies under load: no caller of a decorated function hears of it."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from clustercache.localcluster import LocalCluster
from tests.caching.stages import Stage
from tests.nearby import await_true

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]
THREADS, KEYS = 6, 200
SLOWEST = 3.0
"""Seconds: twice the cache's deadline, for what is read and then filled."""


@pytest.mark.parametrize(("fault", "near"), [("kill", True), ("stop", False)])
def test_no_exception_reaches_a_caller_and_the_cache_is_back_after_the_failover(
    shell, fault, near, report
):
    with LocalCluster() as lc, Stage(shell, lc.url, near=near) as stage:
        load = Load(stage.cached(lambda pk: [pk], name="f", ttl=60))
        with load:
            await_true(lambda: load.calls > 2 * KEYS, 20.0)
            victim = lc.primaries[0]
            (replica,) = lc.replicas_of(victim)
            (lc.kill if fault == "kill" else lc.stop)(victim)
            await_true(lambda: _is_primary(replica), 40.0)
            promoted = monotonic()
            await_true(lambda: _all_kept(load.function), 20.0, "not all are kept again")
            report("kept again after the promotion, seconds", monotonic() - promoted)
            if fault == "stop":
                lc.resume(victim)
            before = load.calls
            await_true(lambda: load.calls > before + KEYS, 20.0)
        report("calls", load.calls)
        report("slowest, seconds", load.slowest)
        assert not load.errors, load.errors[:3]
        assert load.slowest < SLOWEST


def _is_primary(node):
    return node.call("ROLE")[0] == "master"


def _all_kept(function):
    """Tell whether each of the keys is found, without a computation."""
    before = function.cache_stats().computes
    for pk in range(KEYS):
        function.fresh(pk)
    return function.cache_stats().computes == before


class Load:
    """Threads that call a function all the time."""

    def __init__(self, function):
        self.function = function
        self.calls, self.slowest, self.errors = 0, 0.0, []
        self._over = False
        self._threads = [
            threading.Thread(target=self._work, args=(seed,)) for seed in range(THREADS)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_):
        self._over = True
        for thread in self._threads:
            thread.join(30)

    def _work(self, pk):
        while not self._over:
            pk = (pk + 7) % KEYS
            began = monotonic()
            try:
                found = self.function(pk)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                self.errors.append(error)
            else:
                if found != [pk]:
                    self.errors.append((pk, found))
            self.slowest = max(self.slowest, monotonic() - began)
            self.calls += 1
