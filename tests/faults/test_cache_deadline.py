"""With a shard that does not answer, a call takes its deadline once, and then nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from time import monotonic

import pytest

from clustercache import AsyncCache, Cache, NearCache
from clustercache.localcluster import LocalCluster
from tests.nearby import await_true

DEADLINE = 0.6
SOON = 0.15


@pytest.fixture(scope="module")
def lc():
    with LocalCluster(primaries=3, replicas=0) as made:
        yield made


@pytest.fixture
def cache(lc):
    near = NearCache()
    with Cache.from_url(lc.url, near=near, deadline=DEADLINE, socket_timeout=5) as made:
        made.set("first", 1)
        await_true(lambda: made.get("first") and len(near))
        yield made


@pytest.fixture
def square(cache):
    return cache.cached(name="square", ttl=60)(lambda a: a * a)


def _on(lc, cache, square, node):
    """Return arguments whose values are on a node."""
    prefix = f"{cache.settings.namespace}:"
    return (a for a in count() if lc.node_for(prefix + square.cache_key(a)) is node)


def test_a_near_cache_does_not_double_the_deadline_nor_ask_a_shard_that_is_away(lc, cache, square):
    node = lc.primaries[0]
    found = _on(lc, cache, square, node)
    away = [next(found) for _ in range(3)]
    square(away[0])
    lc.stop(node)
    try:
        times = []
        for a in away:
            began = monotonic()
            assert square(a) == a * a
            times.append(monotonic() - began)
    finally:
        lc.resume(node)
        lc.wait_ready()
    assert times[0] < DEADLINE + SOON
    assert max(times[1:]) < SOON


def test_what_is_on_other_shards_is_kept_near_meanwhile(lc, cache, square):
    node, other = lc.primaries[:2]
    away = next(_on(lc, cache, square, node))
    here = next(_on(lc, cache, square, other))
    square(here)
    lc.stop(node)
    try:
        square(away)
        await_true(lambda: square(here) == here * here and square.cache_stats().near_hits)
    finally:
        lc.resume(node)
        lc.wait_ready()


def test_a_read_that_is_cancelled_leaves_no_token_behind(lc):
    async def main():
        near = NearCache()
        async with AsyncCache.from_url(lc.url, near=near) as cache:
            await cache.set("key", 1)
            async with asyncio.timeout(10):
                while not len(near):
                    await cache.get("key")
            reached = asyncio.Event()

            async def hang(*_):
                reached.set()
                await asyncio.Event().wait()

            for line in cache._tracker.listeners:
                line.send = lambda readings: [reading.lost() for reading in readings]
            cache._way.read = hang
            near.clear()
            task = asyncio.create_task(cache.get("key"))
            await reached.wait()
            assert near._coherence._inflight
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert not near._coherence._inflight

    asyncio.run(main())


def test_nor_does_one_that_is_interrupted(cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("clustercache.caching.line.Line._read_until", interrupted)
    for keys in (["a"], ["a", "b"]):
        with pytest.raises(KeyboardInterrupt):
            cache.get_many(keys)
        assert not cache.near._coherence._inflight
