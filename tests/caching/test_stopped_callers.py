"""Whoever is stopped while computing gives the lease back: others do not wait for its end."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from clustercache import AsyncCache, Cache
from tests.nearby import await_true

LEASE = 30.0


def test_a_cancelled_get_or_set_leaves_no_lease():
    async def main():
        async with AsyncCache.from_url("memory://", lease=LEASE, wait=LEASE) as cache:
            begun = asyncio.Event()

            async def hangs():
                begun.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(cache.get_or_set("key", hangs))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                return await cache.get_or_set("key", lambda: asyncio.sleep(0, "value"))

    assert asyncio.run(main()) == "value"


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_an_interrupted_computation_leaves_no_lease(many):
    with Cache.from_url("memory://", lease=LEASE, wait=LEASE) as cache:
        stops = [True]

        def made(keys):
            if stops:
                stops.clear()
                raise KeyboardInterrupt
            return dict.fromkeys(keys, "value") if many else "value"

        decorate = cache.cached_many if many else cache.cached
        function = decorate(name="f")(made)
        with pytest.raises(KeyboardInterrupt):
            function(("key",))
        began = monotonic()
        assert function(("key",)) == ({"key": "value"} if many else "value")
        assert monotonic() - began < LEASE / 3
        key = function.cache_key("key" if many else ("key",))
        # What takes many keys waits for nobody: it may have come before the lease was given back.
        await_true(lambda: cache.get(key) == "value" or not function(("key",)))
