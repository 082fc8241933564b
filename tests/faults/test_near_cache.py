"""Near caches of several processes under faults: no hit is older than the documented bound.

A writer counts keys up, and notes when each value was confirmed; what a failover lost is struck
out, by the current primaries' own logs. A hit is judged by when the value after it was confirmed:
at the most the bound before the hit began. What a process wrote itself it never sees undone. When
all is quiet again, every near cache holds what the primaries hold, and finds its way back to them.
"""

from __future__ import annotations

from time import monotonic

import pytest

from clustercache.caching.near import NearCache
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults.near_drill import CACHES, Drill
from tests.faults.near_faults import cut, flush, kill, move, nothing, overflow, pause, stop
from tests.histories import TooOld
from tests.nearby import await_true, keys_on, nearby

pytestmark = pytest.mark.faults
SILENCE = 1.0
"""The default of `max_silence`."""
SLACK = 0.25
"""Seconds that a busy machine may take between a look at the clock and the answer."""
PROMPT = 0.5
"""Seconds in which a push comes, or a connection's end, on a machine where six processes work."""
BOUNDS = {nothing: PROMPT, cut: PROMPT, flush: PROMPT, overflow: PROMPT}
"""Where no more than a push's way is needed; everywhere else, `max_silence`."""


def rehearse(lc, fault, report, **options):
    with Drill(lc, **options) as drill:
        fault(drill)
        drill.end()
        if fault in {kill, stop}:
            report("writes_that_a_failover_lost", drill.strike_out_what_was_lost())
        bound = BOUNDS.get(fault, SILENCE + SLACK)
        drill.judge(bound, report)
        drill.settle(bound)
        return len(drill.reads) + drill.writes


@pytest.mark.parametrize("fault", [nothing, kill, stop, cut, flush, move, overflow, pause])
def test_no_hit_is_older_than_the_bound(fault, report):
    with LocalCluster() as lc:
        operations = rehearse(lc, fault, report)
    assert operations >= 100_000


@pytest.mark.parametrize("fault", [cut, move])
def test_no_hit_through_a_cache_is_older_than_the_bound(fault, report):
    with LocalCluster(3, 0) as lc:
        rehearse(lc, fault, report, kinds=CACHES, count=3_000)


@pytest.mark.parametrize("server", ["redis-7.0", "redis-6.2"])
@pytest.mark.parametrize("fault", [flush, move, overflow])
def test_no_hit_is_older_than_the_bound_on_other_servers(server, fault, report):
    with LocalCluster(server=need_server(server).path) as lc:
        rehearse(lc, fault, report, count=3_000)


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("hit: the source's epoch", cut),
        ("void: entries", nothing),
        ("void: tokens", nothing),
        ("flushed", flush),
    ],
)
def test_it_is_noticed_when_a_rule_is_taken_out(rule, fault, report):
    with LocalCluster(3, 0) as lc, pytest.raises(TooOld):
        rehearse(lc, fault, report, rule=rule, count=1_000, kinds=("threads", "asyncio"))


def test_a_primary_that_is_cut_off_serves_nothing_near_for_long(report):
    with LocalCluster(node_timeout=1.0) as lc, nearby(lc.url) as here:
        victim, *others = lc.primaries
        (key,) = keys_on(lc, victim)
        here.client.set(key, "v")
        here.warm(key)
        for node in (*others, *lc.replicas):
            lc.stop(node)
        # The node answers all the while, so that it is believed until it knows that it is alone.
        took = here.await_gone(key, 10.0)
        report("cut_off_seconds", took)
        for node in (*others, *lc.replicas):
            lc.resume(node)
        assert 0.5 < took < 1.0 * 2 + SILENCE + 0.5


def test_a_dead_link_is_not_believed_longer_than_the_largest_silence(report):
    with LocalCluster() as lc, nearby(lc.url, near=NearCache(max_silence=0.6)) as here:
        victim = lc.primaries[0]
        (key,) = keys_on(lc, victim)
        (well,) = keys_on(lc, lc.primaries[1])
        for one in (key, well):
            here.client.set(one, "v")
        here.warm(key, well)
        began = monotonic()
        lc.stop(victim)
        took = here.await_gone(key, 5.0)
        report("dead_link_seconds", took)
        assert monotonic() - began < 0.6 + SLACK
        assert here.has(well), "a healthy shard's entries went, too"
        lc.resume(victim)
        await_true(lambda: here.fetch(key) == b"v" and here.has(key), 20.0)
