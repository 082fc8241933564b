"""Who calls: threads, tasks, loops, forked children, methods; and what each of them gets."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from uuid import uuid4

import pytest

from clustercache import AsyncCache, Cache, NearCache
from tests.asyncs import sync_only
from tests.caching.stages import Counted, Held
from tests.loops import LOOPS, run, until


class Shop:
    """Its methods are decorated by `in_class`."""

    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return self.name


class Stranger:
    """Has no stable encoding."""


def test_concurrent_callers_of_one_call_share_one_computation(stage):
    held = Held()
    function = stage.cached(held, name="f")
    with ThreadPoolExecutor(20) as pool, held.held(function, 1):
        calls = [pool.submit(function, 1) for _ in range(20)]
        assert not any(call.done() for call in calls)
        held._go.set()
        results = [call.result(20) for call in calls]
    assert results == [["old", 1]] * 20
    assert held.calls == 1
    for result in results:
        result.append("mine")
    assert function(1) == ["old", 1]
    assert len({id(result) for result in results}) == 20


def test_an_error_reaches_all_who_waited_and_is_not_kept(stage):
    held = Held()

    def fail(pk):
        raise LookupError(held(pk))

    function = stage.cached(fail, name="f")
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(function, 1)
        assert held.begun.wait(10)
        others = [pool.submit(function, 1) for _ in range(4)]
        held._go.set()
        for call in (first, *others):
            with pytest.raises(LookupError):
                call.result(20)
    with pytest.raises(LookupError):
        function(1)


def test_who_waits_too_long_computes_and_stores_nothing(stage):
    held = Held()
    function = stage.cached(held, name="f", wait=0.2, lease=30)
    with held.held(function, 1):
        held.truth = "new"
        began = monotonic()
        assert function(1) == ["new", 1]
        assert monotonic() - began < 5.0
    assert function(1) == ["old", 1]


@pytest.mark.parametrize("place", ["memory", "cluster"], indirect=True)
def test_who_waits_too_long_for_another_process_computes(stage):
    held = Held()
    first = stage.cached(held, name="f", lease=30)
    second = stage.cached(held, stage.open(), name="f", wait=0.3, lease=30)
    with held.held(first, 1):
        began = monotonic()
        assert second(1) == ["old", 1]
        assert 0.2 < monotonic() - began < 5.0
        assert held.calls == 2


def test_methods_are_told_apart_by_their_key(stage):
    made = Counted(lambda self, pk: [self.name, pk])
    function = stage.cached(made, name="product")
    one, two = Shop("one"), Shop("two")
    assert [function(one, 1), function(Shop("one"), 1), function(two, 1)] == [
        ["one", 1], ["one", 1], ["two", 1],
    ]  # fmt: skip
    assert made.count == 2
    with pytest.raises(TypeError, match="Stranger"):
        function(Stranger(), 1)


@pytest.mark.parametrize("outside", [True, False], ids=["above", "below"])
@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_class_and_static_methods_may_be_decorated_on_either_side(kind, outside):
    calls = []
    with Cache.from_url("memory://") as cache:

        def body(*args):
            calls.append(args[-1])
            return [args[-1]]

        decorated = cache.cached(name="f", ttl=60)
        method = decorated(kind(body)) if outside else kind(decorated(body))
        holder = type("Holder", (), {"product": method, "__module__": __name__})
        globals()["Holder"] = holder
        try:
            assert holder.product(1) == holder.product(1) == holder().product(1) == [1]
            assert calls == [1]
        finally:
            del globals()["Holder"]


@sync_only  # a loop's thread does not live in a child
def test_a_child_works_after_a_fork_and_harms_its_parent_not(stage):
    function = stage.cached(lambda pk: [pk, os.getpid()], name="f")
    ours = function(1)
    child = os.fork()
    if not child:
        ok = False
        try:
            signal.alarm(30)
            found, made = function(1), function(2)
            stage.cache.set("k", "child")
            mine = [2, os.getpid()]
            ok = (stage.in_process or found == ours) and made == mine and function(2) == mine
        finally:
            os._exit(0 if ok else 1)
    parent = [function(1) for _ in range(100)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parent == [ours] * 100
    assert function.fresh(1) == ours
    if not stage.in_process:
        assert stage.cache.get("k") == "child"
        assert function(2)[1] == child
    assert function(3) == [3, os.getpid()]


@pytest.fixture
def namespace():
    return f"t{uuid4().hex}"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_caller_does_not_stop_what_others_wait_for(cluster, namespace, loop):
    async def main():
        begun, go, calls = asyncio.Event(), asyncio.Event(), []
        async with AsyncCache.from_url(cluster.url, namespace=namespace) as cache:

            @cache.cached(name="f")
            async def function(pk):
                calls.append(pk)
                begun.set()
                await go.wait()
                return [pk]

            first = asyncio.create_task(function(1))
            await begun.wait()
            second = asyncio.create_task(function(1))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            go.set()
            assert await second == [1]
            assert await function(1) == [1]
            assert calls == [1]

    run(main(), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_lone_cancelled_caller_leaves_a_value_behind(cluster, namespace, loop):
    async def main():
        begun, calls = asyncio.Event(), []
        async with AsyncCache.from_url(cluster.url, namespace=namespace) as cache:

            @cache.cached(name="f")
            async def function(pk):
                calls.append(pk)
                begun.set()
                await asyncio.sleep(0.01)
                return [pk]

            first = asyncio.create_task(function(1))
            await begun.wait()
            first.cancel()
            await until(first.done)
            assert await function(1) == [1]
            assert calls == [1]

    run(main(), loop=loop)


def test_a_cache_serves_loop_after_loop_and_loops_side_by_side(cluster, namespace):
    with Cache.from_url(cluster.url, namespace=namespace, near=NearCache()) as cache:
        calls = []

        @cache.cached(name="f")
        async def function(pk):
            calls.append(pk)
            return [pk]

        async def main(first):
            found = [await function(pk) for pk in range(first, first + 20)]
            assert found == [[pk] for pk in range(first, first + 20)]

        async def end():
            await cache.aio.aclose()

        for _ in range(3):
            asyncio.run(main(0))
        assert len(calls) == 20
        threads = [threading.Thread(target=asyncio.run, args=(main(n * 20),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(calls) == list(range(80))
        asyncio.run(end())


def test_both_kinds_of_functions_share_one_cache(cluster, namespace):
    with Cache.from_url(cluster.url, namespace=namespace) as cache:
        plain = cache.cached(name="f")(lambda pk: ["plain", pk])
        made = plain(1)

        async def main():
            @cache.cached(name="f")
            async def function(pk):
                return ["coroutine", pk]

            try:
                assert await function(1) == made
                assert await cache.aio.get(plain.cache_key(1)) == made
                assert await function(2) == ["coroutine", 2]
                await function.cache_invalidate(1)
            finally:
                await cache.aio.aclose()

        run(main())
        assert plain(2) == ["coroutine", 2]
        assert plain(1) == ["plain", 1]
        assert cache.aio.settings is cache.settings
