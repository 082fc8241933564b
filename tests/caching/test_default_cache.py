"""The default cache: functions are decorated before it is configured, and find it when called."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

import clustercache
from clustercache.caching.default import default, unconfigure
from clustercache.exceptions import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_configured():
    unconfigure()
    yield
    unconfigure()


def counting(name, **options):
    numbers = itertools.count()

    @clustercache.cached(name=name, **options)
    def count(_):
        return next(numbers)

    return count


def test_a_call_before_it_is_configured_says_so_and_later_ones_are_cached():
    count = counting("late", ttl=60)
    for call in (lambda: count(1), lambda: count.cache_key(1), default):
        with pytest.raises(ConfigurationError, match="configure"):
            call()
    cache = clustercache.configure("memory://", namespace="late")
    assert default() is cache
    assert (count(1), count(1), count(2)) == (0, 0, 1)
    assert cache.get(count.cache_key(1)) == 0
    count.cache_invalidate(1)
    assert count(1) == 2


def test_it_is_configured_once():
    clustercache.configure("memory://")
    with pytest.raises(ConfigurationError, match="already"):
        clustercache.configure("memory://")
    unconfigure()
    clustercache.configure("memory://")


def test_functions_that_were_called_stay_with_their_cache():
    called, other = counting("called"), counting("other")
    clustercache.configure("memory://")
    assert called(1) == 0
    unconfigure()
    assert called(1) == 0
    with pytest.raises(ConfigurationError):
        other(1)


def test_coroutine_functions_and_static_methods_are_found_too():
    numbers = itertools.count()

    class Shop:
        @clustercache.cached(ttl=60, name="stock")
        @staticmethod
        async def stock(_):
            return next(numbers)

    clustercache.configure("memory://")
    assert asyncio.run(Shop.stock(5)) == asyncio.run(Shop.stock(5)) == 0
    assert Shop.stock.cache_info().hits == 1


def test_threads_that_call_first_at_once_share_one_function():
    count, gate, infos = counting("threads"), threading.Barrier(8), set()
    clustercache.configure("memory://")

    def call():
        gate.wait(10)
        infos.add(count(1))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert infos == {0}
    assert count.cache_info().misses == 1
