"""Django's cache in event loops and threads, near and in the background."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.base import BaseCache, InvalidCacheBackendError

from clustercache.django import ClusterCache, cached, cached_many
from tests.frameworks import django_site  # noqa: F401 - gives the settings first
from tests.nearby import await_true

pytestmark = pytest.mark.live


# asyncio -------------------------------------------------------------------------------------


def test_every_method_has_its_asynchronous_twin():
    names = [name for name in vars(BaseCache) if f"a{name}" in vars(BaseCache)]
    names.remove("close")  # it takes whatever a signal sends
    names += ["ttl", "lock", "delete_pattern"]
    assert len(names) > 15
    for name in names:
        twins = inspect.signature(getattr(ClusterCache, f"a{name}"))
        assert twins.parameters == inspect.signature(getattr(ClusterCache, name)).parameters


async def _use():
    await cache.aset("a", 1)
    assert await cache.aget("a") == 1
    assert not await cache.aadd("a", 2)
    assert await cache.aget_or_set("made", lambda: 3) == 3
    assert await cache.atouch("a", 50)
    assert await cache.aincr("a", 4) == 5
    assert await cache.adecr("a") == 4
    assert await cache.ahas_key("a")
    assert 49 < await cache.attl("a") <= 50
    assert await cache.aset_many({"b": 2, "c": 3}) == []
    assert await cache.aget_many(["a", "b", "d"]) == {"a": 4, "b": 2}
    assert await cache.aincr_version("b") == 2
    assert await cache.adecr_version("b", version=2) == 1
    await cache.adelete_many(["a", "c"])
    assert await cache.adelete_pattern("b*") == 1
    async with cache.alock("a"):
        assert await cache.adelete("made")
    await cache.aclear()
    await cache.aclose()


def test_no_thread_is_used(caching, monkeypatch):
    async def never(self, *args, **options):
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("asgiref.sync.SyncToAsync.__call__", never)
    asyncio.run(_use())


class Unsent:
    """As a query that was not sent: Django refuses to pickle it in an event loop."""

    def __reduce__(self):
        from django.utils.asyncio import async_unsafe

        return async_unsafe(lambda: (set, ([5],)))()


def test_what_cannot_be_pickled_in_a_loop_is_pickled_in_a_thread(caching):
    made = []

    def make():
        made.append(1)
        return Unsent()

    async def store():
        await cache.aset("set", Unsent())
        await cache.aset_many({"many": Unsent()})
        assert await cache.aadd("added", Unsent())
        await cache.aget_or_set("made", make)

    asyncio.run(store())
    names = ["set", "many", "added", "made"]
    assert cache.get_many(names) == {key: {5} for key in names}
    assert made == [1]


# Together ------------------------------------------------------------------------------------


def known_here(keys):
    """Return keys whose namespace is known at the servers, as it is but once after a `clear`."""
    keys = list(keys)
    cache.set_many(dict.fromkeys(keys, 0))
    cache.delete_many(keys)
    return keys


@pytest.mark.parametrize("near", [False, True])
def test_of_many_threads_one_makes_a_value(caching, near):
    made, gate = [], threading.Barrier(16, timeout=10)

    def make():
        made.append(1)
        return {"made": len(made)}

    keys = known_here(f"raced-{number}" for number in range(20))
    with caching(raced={"OPTIONS": {"near": near}}), ThreadPoolExecutor(16) as pool:

        def one(key):
            gate.wait()
            return caches["raced"].get_or_set(key, make, 60)

        for key in keys:
            made.clear()
            found = [pool.submit(one, key) for _ in range(16)]
            assert [future.result(20) for future in found] == [{"made": 1}] * 16


def test_of_many_tasks_and_threads_one_makes_a_value(caching):
    made = []

    def make():
        made.append(1)
        return "made"

    async def amake():
        await asyncio.sleep(0)
        return make()

    async def main():
        tasks = [cache.aget_or_set(key, amake) for _ in range(20)]
        threads = [asyncio.to_thread(cache.get_or_set, key, make) for _ in range(4)]
        return await asyncio.gather(*tasks, *threads)

    (key,) = known_here(["raced"])
    assert asyncio.run(main()) == ["made"] * 24
    assert made == [1]


# Functions -------------------------------------------------------------------------------------

calls = []


@cached(ttl=60)
def doubled(number):
    calls.append(number)
    return number * 2


@cached(using="second")
async def tripled(number):
    calls.append(number)
    return number * 3


@cached_many(ttl=60)
def squared(numbers):
    calls.extend(numbers)
    return {number: number**2 for number in numbers}


def test_functions_that_are_decorated_at_import_are_cached_as_the_settings_say(caching):
    calls.clear()
    assert [doubled(2), doubled(2), doubled(number=2)] == [4] * 3
    assert squared([1, 2]) | squared([2, 3]) == {1: 1, 2: 4, 3: 9}
    with caching(second={"TIMEOUT": 70, "OPTIONS": {"namespace": "second"}}):
        assert doubled(2) == 4
        assert [asyncio.run(tripled(5)) for _ in range(2)] == [15, 15]
        assert 69 < caches["second"].inner.ttl(tripled.cache_key(5)) <= 70
        caches["second"].clear()
    assert calls == [2, 1, 2, 3, 5]
    with pytest.raises(InvalidCacheBackendError, match="second"):
        asyncio.run(tripled(5))


def test_what_was_cached_with_other_settings_is_not_asked_for(caching):
    calls.clear()
    with caching(default={"OPTIONS": {"namespace": "elsewhere"}}):
        doubled.cache_clear()
        assert doubled(3) == 6
        assert doubled.cache_info().misses == 1
    assert doubled(3) == 6
    assert calls == [3, 3]


# Near ----------------------------------------------------------------------------------------


def test_a_near_cache_serves_and_hears_what_others_change(caching):
    with caching(near={"OPTIONS": {"near": True}}):
        near = caches["near"]
        assert near.inner is not cache.inner
        cache.set("a", {"old": 1})

        def is_near():
            assert near.get("a") == {"old": 1}
            return near.inner.stats().direct.near_hits > 0

        await_true(is_near)
        cache.set("a", "new")
        await_true(lambda: near.get("a") == "new")
        await_true(lambda: asyncio.run(near.aget("a")) == "new")
        cache.delete_pattern("*")
        await_true(lambda: near.get("a") is None)
        near.set("a", "own")
        assert near.get("a") == "own"


# In the background ---------------------------------------------------------------------------


def test_what_is_computed_in_the_background_has_fresh_database_connections(caching, monkeypatch):
    closings, made = [], []
    monkeypatch.setattr(
        "clustercache.django.options.close_old_connections",
        lambda: closings.append(threading.current_thread()),
    )

    @cache.inner.cached(name="slow", ttl=0.001, stale=60)
    def slow():
        made.append(threading.current_thread())
        return len(made)

    slow()
    await_true(lambda: slow() and len(closings) >= 2)
    assert closings[0] is closings[1] is made[1]
    assert threading.current_thread() not in closings


def test_a_loop_leaves_the_connections_of_its_thread_alone(caching, monkeypatch):
    closings, made = [], []
    monkeypatch.setattr(
        "clustercache.django.options.close_old_connections", lambda: closings.append(1)
    )

    @cache.inner.cached(name="slow", ttl=0.001, stale=60)
    async def slow():
        made.append(1)
        return len(made)

    async def main():
        while len(made) < 2:
            await slow()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert closings == []
