"""Tags invalidated again and again while values are filled: nothing that is over is found."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from time import monotonic
from uuid import uuid4

import pytest

from clustercache import Cache, NearCache

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]
ROUNDS, TAGS, READERS = 10_000, 8, 4
BOUND = 1.0
"""Seconds that another process may be late: `max_silence`, where nothing is heard."""


class Truth:
    """What the functions read; each change is told by an invalidation."""

    def __init__(self):
        self.versions = [0] * TAGS
        self.told = [(0, 0.0)] * TAGS
        self.errors, self.reads, self.over = [], 0, False

    def change(self, cache, which):
        self.versions[which] += 1
        cache.invalidate_tags(f"t{which}")
        self.told[which] = self.versions[which], monotonic()

    def read_at_once(self, function, which):
        told, _ = self.told[which]
        found = function(which)
        if found < told:
            self.errors.append(("at once", found, told))

    def read_elsewhere(self, function, which):
        told, since = self.told[which]
        began = monotonic()
        found = function(which)
        if found < told and began - since > BOUND:
            self.errors.append(("elsewhere", found, told, began - since))


@pytest.mark.parametrize("is_near", [False, True], ids=["far", "near"])
def test_nothing_that_was_invalidated_is_found_under_concurrent_fills(cluster, is_near, report):
    truth = Truth()
    with caches(cluster.url, is_near) as (here, there):
        near_by, elsewhere = (
            cache.cached(name="f", ttl=60, tags=lambda which: (f"t{which}",))(
                lambda which: truth.versions[which]
            )
            for cache in (here, there)
        )
        threads = [
            threading.Thread(target=_read, args=(truth, read, function, seed))
            for seed in range(READERS)
            for read, function in [
                (truth.read_at_once, near_by) if seed % 2 else (truth.read_elsewhere, elsewhere)
            ]
        ]
        for thread in threads:
            thread.start()
        began = monotonic()
        rounds = 0
        while rounds < ROUNDS and monotonic() - began < 60.0 and not truth.errors:
            which = rounds % TAGS
            truth.change(here, which)
            truth.read_at_once(near_by, which)
            rounds += 1
        truth.over = True
        for thread in threads:
            thread.join(20)
        report("rounds", rounds)
        report("reads", truth.reads)
        assert not truth.errors, truth.errors[:5]
        assert truth.reads > 1000
        assert rounds == ROUNDS
        assert [near_by(which) for which in range(TAGS)] == truth.versions


def _read(truth, read, function, which):
    while not truth.over:
        which = (which + 3) % TAGS
        read(function, which)
        truth.reads += 1
        time.sleep(0.0002)  # near hits alone would leave the invalidations no time


@contextmanager
def caches(url, is_near):
    """Open two caches of one namespace, as two processes have them."""
    with ExitStack() as stack:
        options = {"namespace": f"t{uuid4().hex}", "wait": 5.0}
        nears = [NearCache() if is_near else None for _ in range(2)]
        yield [stack.enter_context(Cache.from_url(url, near=near, **options)) for near in nears]
