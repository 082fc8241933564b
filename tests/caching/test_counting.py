"""Each call is counted as what it came to, once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import AsyncCache, Cache
from clustercache.instrumentation import CacheComputed

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(told):
    with Cache.from_url("memory://", hooks=[told.append]) as cache:
        yield cache


def calls(stats):
    return stats.hits + stats.misses + stats.skipped


class Slow:
    """A function that returns when it is told to.

    Attributes:
        begun: Released by each call.
        may_end: What calls wait for.
    """

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def __call__(self, number):
        self.begun.release()
        assert self.may_end.wait(10)
        return number


def test_a_miss_is_computed_and_hits_are_not(cache, told):
    @cache.cached(ttl=60, name="f")
    def f(number):
        return number

    for number in (1, 2, 1, 1):
        assert f(number) == number
    found = f.cache_stats()
    assert (found.far_hits, found.misses, found.computes) == (2, 2, 2)
    assert found == cache.stats().functions["f"] == cache.stats().total
    assert found.compute_seconds == sum(event.seconds for event in told)
    assert {type(event) for event in told} == {CacheComputed}


def test_who_waits_for_another_is_spared_a_stampede(cache):
    slow = Slow()
    f = cache.cached(ttl=60, name="f")(slow)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(f, 1)
        assert slow.begun.acquire(timeout=10)
        others = [threads.submit(f, 1) for _ in range(2)]
        slow.may_end.set()
        assert [one.result(10) for one in (first, *others)] == [1, 1, 1]
    found = f.cache_stats()
    # A thread that was slow to start found the value stored.
    assert (found.misses, found.computes) == (1, 1)
    assert found.stampedes_avoided + found.far_hits == 2


def test_who_waits_in_vain_computes_and_is_a_miss(cache, told):
    slow = Slow()
    f = cache.cached(ttl=60, name="f", wait=0.05)(slow)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(f, 1) for _ in range(2)]
        for _ in both:
            assert slow.begun.acquire(timeout=10)
        slow.may_end.set()
        assert [one.result(10) for one in both] == [1, 1]
    found = f.cache_stats()
    assert (found.misses, found.computes, found.hits) == (2, 2, 0)
    assert [type(event) for event in told] == [CacheComputed] * 2


def test_so_it_is_in_asyncio():
    async def main():
        async with AsyncCache.from_url("memory://") as cache:
            begun, may_end = asyncio.Semaphore(0), asyncio.Event()

            @cache.cached(ttl=60, name="f", wait=0.05)
            async def f(number):
                begun.release()
                await may_end.wait()
                return number

            both = [asyncio.create_task(f(1)) for _ in range(2)]
            for _ in both:
                await asyncio.wait_for(begun.acquire(), 10)
            may_end.set()
            assert await asyncio.gather(*both) == [1, 1]
            return f.cache_stats()

    found = asyncio.run(main())
    assert (found.misses, found.computes, found.hits) == (2, 2, 0)


def test_a_function_that_needs_its_own_result_is_computed_and_counted_each_time(cache):
    depth = []

    @cache.cached(ttl=60, name="f")
    def f(number):
        depth.append(number)
        return number if len(depth) > 1 else f(number)

    assert f(1) == 1
    found = f.cache_stats()
    assert (found.misses, found.computes) == (2, 2)


def test_what_raises_is_an_error_and_a_miss(cache, told):
    @cache.cached(ttl=60, name="f")
    def f():
        raise KeyError(1)

    for _ in range(2):
        with pytest.raises(KeyError):
            f()
    found = f.cache_stats()
    assert (found.misses, found.errors, found.computes, calls(found)) == (2, 2, 0, 2)
    assert [(event.function, event.error) for event in told] == [("f", "KeyError")] * 2


def test_what_is_old_and_computed_in_time_is_a_miss_and_what_is_not_is_stale(cache):
    slow = Slow()
    slow.may_end.set()
    f = cache.cached(ttl=0.001, name="f", stale_if_error=60, soft_timeout=0.05, early=0)(slow)
    asked = 0
    while f.cache_stats().computes < 2:
        assert f(1) == 1
        asked += 1
    found = f.cache_stats()
    assert (found.misses, calls(found)) == (2, asked)
    slow.may_end.clear()
    while not f.cache_stats().stale_served:
        assert f(1) == 1
        asked += 1
    slow.may_end.set()
    found = f.cache_stats()
    assert (found.misses, found.stale_served, calls(found)) == (2, 1, asked)


def test_direct_calls_are_of_no_function(cache):
    assert cache.get("k") is None
    cache.set("k", 1)
    assert cache.get("k") == 1
    assert cache.get_many(["k", "z"]) == {"k": 1}
    stats = cache.stats()
    assert (stats.direct.far_hits, stats.direct.misses) == (2, 2)
    assert stats.total == stats.direct
