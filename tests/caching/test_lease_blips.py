"""A lease outlives a renewal that nobody answered."""

from __future__ import annotations

import asyncio
from threading import Event

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from clustercache import AsyncCache, Cache

LEASE = 0.6


def failing_once(ask, asked, renewed):
    """Return what asks, except for the first renewal, which gets no answer."""

    def outcomes(calls):
        if calls[0].op != "renew":
            return ask(calls)
        asked.append(calls)
        if len(asked) == 1:
            return [RedisConnectionError("cut")]
        renewed()
        return ask(calls)

    return outcomes


@pytest.fixture
def asked():
    return []


def test_a_renewal_that_was_not_answered_is_made_again(asked):
    with Cache.from_url("memory://") as cache:
        renewed, calls = Event(), []
        cache._memory.ask = failing_once(cache._memory.ask, asked, renewed.set)

        @cache.cached(name="f", lease=LEASE)
        def slow():
            calls.append(renewed.wait(5))
            return 1

        assert slow() == slow() == 1
    assert calls == [True]


def test_so_it_is_in_asyncio(asked):
    async def main():
        async with AsyncCache.from_url("memory://") as cache:
            renewed, calls = asyncio.Event(), []
            cache._memory.ask = failing_once(cache._memory.ask, asked, renewed.set)

            @cache.cached(name="f", lease=LEASE)
            async def slow():
                async with asyncio.timeout(5):
                    calls.append(await renewed.wait())
                return 1

            assert await slow() == await slow() == 1
            return calls

    assert asyncio.run(main()) == [True]
