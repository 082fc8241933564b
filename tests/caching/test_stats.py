"""What is counted, by whichever thread, and how it is shown."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic

import pytest

from clustercache._core.vouching import Health, Source
from clustercache.caching import counters as counting
from clustercache.caching.near import NearCache
from clustercache.caching.stats import CacheInfo, CacheStats, Counters, FunctionStats, NearStats

COUNTS = (
    "near_hits",
    "far_hits",
    "misses",
    "stale_served",
    "stampedes_avoided",
    "computes",
    "errors",
    "skipped",
)


def kept(near, *keys):
    source = Source()
    near.tell(lambda state: state.tracked(source, Health(monotonic(), serving=True)))
    for key in keys:
        token = near.claim(key, source)
        assert near.keep(token, b"12345", "12345")
        near.release(token)


@pytest.mark.parametrize("name", COUNTS)
def test_each_counter_counts_for_itself_one_or_several(name):
    counters = Counters()
    add = getattr(counters, name)
    add()
    add(5)
    add(0)
    assert getattr(counters.read(), name) == 6
    assert sum(getattr(counters.read(), each) for each in COUNTS) == 6


def test_reading_counts_nothing():
    counters = Counters()
    counters.misses()
    assert [counters.read() for _ in range(3)] == [FunctionStats(misses=1)] * 3


def test_no_count_is_lost_between_threads():
    counters, threads, times = Counters(), 4, 5_000
    together = Barrier(threads)

    def work(_):
        together.wait()
        for _ in range(times):
            counters.near_hits()
            counters.far_hits(3)
            counters.computed(0.5)
            counters.saw_cost(500_000)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
    finally:
        sys.setswitchinterval(interval)
    found = counters.read()
    assert found.near_hits == found.computes == threads * times
    assert found.far_hits == 3 * threads * times
    assert found.compute_seconds == threads * times / 2
    assert found.time_saved == found.hits / 2


@pytest.mark.timeout(30)
def test_a_child_counts_though_a_thread_that_it_does_not_have_was_counting():
    counters = Counters()
    with counting._Sums.lock:
        child = os.fork()
        if child == 0:
            code = 9
            try:
                signal.alarm(10)
                counters.computed(1.0)
                code = counters.read().computes
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert counters.read().computes == 0


def test_a_hit_is_what_was_answered_without_computing():
    stats = FunctionStats(
        near_hits=4, far_hits=3, stale_served=2, stampedes_avoided=1, misses=5, skipped=5, errors=9
    )
    assert stats.hits == 10
    assert stats.hit_rate == 0.5
    assert FunctionStats(skipped=1).hit_rate == 0.0
    assert FunctionStats().hit_rate is None


def test_each_hit_saves_what_is_known_of_computing_on_average():
    counters = Counters()
    counters.near_hits(10)
    assert counters.read().time_saved == 0.0
    counters.computed(3.0)
    assert counters.read().time_saved == 30.0
    counters.saw_cost(1_000_000)  # by another process
    assert counters.read().time_saved == 20.0
    counters.saw_cost(0)
    assert counters.read() == FunctionStats(
        near_hits=10, computes=1, compute_seconds=3.0, time_saved=20.0
    )


def test_figures_are_read_only_and_can_be_summed():
    one = FunctionStats(near_hits=1, misses=1, compute_seconds=0.5, time_saved=2.0)
    other = FunctionStats(far_hits=2, errors=1, time_saved=1.0)
    assert one + other == FunctionStats(
        near_hits=1, far_hits=2, misses=1, errors=1, compute_seconds=0.5, time_saved=3.0
    )
    with pytest.raises(AttributeError):
        one.misses = 2


def test_a_dictionary_of_figures_has_those_that_are_worked_out_too():
    found = FunctionStats(near_hits=3, misses=1).as_dict()
    assert (found["hits"], found["hit_rate"], found["near_hits"]) == (3, 0.75, 3)
    assert {*found} == {*COUNTS, "hits", "hit_rate", "compute_seconds", "time_saved"}


def test_the_four_fields_are_those_of_functools():
    assert CacheInfo._fields == ("hits", "misses", "maxsize", "currsize")


def test_a_near_cache_tells_its_bounds_and_its_oldest_entry():
    near = NearCache(10, max_bytes=1000)
    assert NearStats.of(near) == NearStats(entries=0, maxsize=10, bytes=0, max_bytes=1000)
    before = monotonic()
    kept(near, b"a", b"bc")
    found = NearStats.of(near)
    assert (found.entries, found.bytes) == (2, 13)
    assert 0 <= found.oldest <= monotonic() - before


def test_the_totals_are_those_of_all_functions_and_of_direct_calls():
    direct, one, other = Counters(), Counters(), Counters()
    direct.misses()
    one.near_hits(2)
    other.far_hits(3)
    stats = CacheStats.of(direct, {"b": other, "a": one}, NearCache(5))
    assert list(stats.functions) == ["a", "b"]
    assert stats.total == FunctionStats(near_hits=2, far_hits=3, misses=1)
    assert stats.near == NearStats(entries=0, maxsize=5, bytes=0)
    assert CacheStats().total == FunctionStats()


def test_json_says_what_the_dictionary_does():
    counters = Counters()
    counters.computed(0.25)
    stats = CacheStats.of(Counters(), {"shop.product": counters}, None)
    found = json.loads(stats.json())
    assert found == stats.as_dict()
    assert {*found} == {"total", "near", "direct", "functions"}
    assert found["near"] is None
    assert found["functions"]["shop.product"]["compute_seconds"] == 0.25
    assert json.loads(CacheStats.of(Counters(), {}, NearCache(5)).json())["near"]["maxsize"] == 5


def test_the_table_is_aligned_and_leaves_out_what_never_happened():
    product, basket = Counters(), Counters()
    product.near_hits(12_000)
    product.far_hits(345)
    product.misses(2)
    product.computed(0.010)
    product.computed(0.015)
    basket.misses()
    near = NearStats(entries=5, maxsize=10_000, bytes=123_456, max_bytes=1 << 24, oldest=12.3)
    functions = {"shop.basket": basket.read(), "shop.product": product.read()}
    assert str(CacheStats(functions=functions, near=near)).splitlines() == [
        "function          hits  hit rate    near  far  misses  computed    takes     saved",
        "----------------------------------------------------------------------------------",
        "shop.basket          0      0.0%       0    0       1         0        -       0 s",
        "shop.product    12,345     99.9%  12,000  345       2         2  12.5 ms  2.57 min",
        "(direct calls)       0         -       0    0       0         0        -       0 s",
        "----------------------------------------------------------------------------------",
        "total           12,345     99.9%  12,000  345       3         2  12.5 ms  2.57 min",
        "",
        "near cache: 5 of 10,000 entries, 121 KiB of 16 MiB, the oldest read 12.3 s ago",
    ]


def test_a_cache_that_has_done_nothing_can_be_shown():
    lines = str(CacheStats()).splitlines()
    assert "hits" in lines[0]
    assert "misses" in lines[0]
    assert "failed" not in lines[0]
    assert lines[-1] == "near cache: nothing is kept in the process"


def test_one_functions_figures_are_a_block():
    stats = FunctionStats(
        near_hits=900, far_hits=90, misses=10, computes=10, compute_seconds=0.5, time_saved=49.5
    )
    assert str(stats).splitlines() == [
        "hits          990   99.0%",
        "  near        900",
        "  far          90",
        "  stale         0",
        "  waited for    0",
        "misses         10",
        "uncached        0",
        "computed       10  500 ms",
        "  failed        0",
        "saved              49.5 s",
    ]
