"""Who does not wait long for a new value gets the old one."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import AsyncCache, Cache
from tests.loops import LOOPS, run, until
from tests.nearby import await_true

PATIENCE = 10.0
OPTIONS = {
    "name": "f", "ttl": 0.001, "stale_if_error": 60, "early": 0, "soft_timeout": PATIENCE,
}  # fmt: skip
"""A value is old at the next call."""


class Turns:
    """Says "old" first, and then does what a test wants."""

    def __init__(self, later):
        self.calls, self.later = 0, later

    def __call__(self):
        self.calls += 1
        return "old" if self.calls == 1 else self.later()


def later():
    """A condition: that what was made until now is old."""
    made = time.time()
    return lambda: time.time() > made + 0.002


@pytest.fixture
def cache():
    with Cache.from_url("memory://", workers=1) as made:
        yield made


def test_a_caller_in_the_queue_gets_the_old_value_when_the_cache_is_closed(cache):
    release, entered = threading.Event(), threading.Event()

    def hangs():
        entered.set()
        assert release.wait(PATIENCE)

    f = cache.cached(**OPTIONS)(Turns(lambda: "new"))
    assert f() == "old"
    await_true(later())
    cache._background.submit("other", hangs)
    assert entered.wait(PATIENCE)
    with ThreadPoolExecutor(2) as executor:
        call = executor.submit(f)
        await_true(lambda: cache._background._jobs)
        closing = executor.submit(cache.close)
        assert call.result(PATIENCE / 2) == "old"
        release.set()
        closing.result(PATIENCE)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_that_waits_gets_the_old_value_when_the_cache_is_closed(loop):
    async def main():
        cache = AsyncCache.from_url("memory://", workers=1)
        turns, works = Turns(lambda: asyncio.Event().wait()), asyncio.Event()

        @cache.cached(**OPTIONS)
        async def f():
            made = turns()
            if made != "old":
                works.set()
                await made
            return made

        assert await f() == "old"
        await until(later())
        # Past what makes one caller compute for all, which goes on alone: it would hang here.
        call = asyncio.create_task(f.fresh())
        await works.wait()
        await cache.aclose()
        async with asyncio.timeout(PATIENCE / 2):
            assert await call == "old"

    run(main(), loop=loop)


def test_a_refresh_is_called_with_the_arguments_of_the_call_though_they_change(cache):
    release, entered, summed = threading.Event(), threading.Event(), []

    def hangs():
        entered.set()
        assert release.wait(PATIENCE)

    @cache.cached(name="f", ttl=0.001, stale=60, early=0)
    def total(numbers, *, more):
        summed.append((list(numbers), {key: list(value) for key, value in more.items()}))
        return sum(numbers)

    numbers, more = [1, 2], {"a": [1]}
    assert total(numbers, more=more) == 3
    await_true(later())
    cache._background.submit("other", hangs)
    assert entered.wait(PATIENCE)
    assert total(numbers, more=more) == 3
    numbers.append(100)
    more["a"].append(2)
    release.set()
    await_true(lambda: len(summed) == 2)
    assert summed == [([1, 2], {"a": [1]})] * 2


def test_arguments_that_contain_themselves_and_do_not_count_are_as_they_are(cache):
    circle, seen = [], []
    circle.append(circle)

    @cache.cached(name="f", ttl=0.001, stale=60, early=0, ignore=("context",))
    def function(context):
        seen.append(context)

    for count in (1, 2):
        function(circle)
        await_true(lambda count=count: len(seen) == count)
        await_true(later())
    assert all(one is circle for one in seen)
