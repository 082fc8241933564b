"""Closing an asyncio client: calls under way finish, and nothing of it is left."""

from __future__ import annotations

import asyncio

import pytest

from clustercache import AsyncCluster
from clustercache.exceptions import ClosedError, DeadlineExceededError
from clustercache.testing import FakeCluster, delay, silence, simple
from tests.loops import LOOPS, run, timers, until
from tests.shells.readings import wait_until
from tests.shells.subscribers import Broker
from tests.shells.ticks import (
    KEY,
    OTHER,
    Clock,
    closed,
    keys,
    received,
    warm,
)

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=1) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY)


def test_nothing_is_left(fake, loop):
    async def main():
        before = asyncio.all_tasks()
        r = AsyncCluster.from_url(fake.url)
        await asyncio.gather(*map(r.get, [*keys(20), *keys(20, OTHER)]))
        await r.aclose()
        assert asyncio.all_tasks() == before
        if loop == "asyncio":
            assert timers(asyncio.get_running_loop()) == []
        await closed(*fake.nodes)

    run(main(), loop=loop)


def test_nothing_is_left_of_what_has_connections_of_its_own(fake, node, loop):
    broker = Broker(fake)
    node.on("WATCH", simple("OK")).on("UNWATCH", simple("OK")).on("BLPOP", delay(0.01, None))

    async def main():
        before = asyncio.all_tasks()
        async with AsyncCluster.from_url(fake.url) as r:
            await r.blpop(KEY, 1)
            ps = r.pubsub()
            await ps.subscribe("news")
            assert broker.nodes_with("", b"news")
            async with r.pipeline(transaction=True) as pipe:
                await pipe.watch(KEY)
        assert asyncio.all_tasks() == before
        await closed(*fake.nodes)
        del ps

    run(main(), loop=loop)


def test_nothing_is_left_of_a_client_that_doubted_a_node(fake, node, loop):
    async def main():
        before = asyncio.all_tasks()
        async with warm(fake, socket_timeout=0.05) as r:
            node.pause()
            with r.deadline(0.3), pytest.raises(DeadlineExceededError):
                await r.get(KEY)
        assert asyncio.all_tasks() == before
        if loop == "asyncio":
            assert timers(asyncio.get_running_loop()) == []
        node.resume()
        await closed(*fake.nodes)

    run(main(), loop=loop)


def test_calls_under_way_finish(fake, node, loop):
    node.on("GET", delay(0.2, b"late"))

    async def main():
        async with warm(fake) as r:
            calls = [asyncio.create_task(r.get(KEY)), asyncio.create_task(r.get(KEY))]
            await received(node, "GET", 2)
            await r.aclose()
            assert await asyncio.gather(*calls) == [b"late"] * 2

    run(main(), loop=loop)


def test_calls_that_were_made_before_in_the_same_tick_finish(fake, loop):
    async def main():
        async with warm(fake) as r:
            calls = [asyncio.create_task(r.execute_command("INCR", KEY)) for _ in range(5)]
            await asyncio.sleep(0)
            await r.aclose()
            assert await asyncio.gather(*calls) == [1, 2, 3, 4, 5]

    run(main(), loop=loop)


def test_a_silent_call_is_not_waited_for_beyond_its_deadline(fake, node, loop):
    node.on("GET", silence())

    async def main():
        async with warm(fake, deadline=0.3) as r:
            call = asyncio.create_task(r.get(KEY))
            await received(node, "GET")
            with Clock() as clock:
                await r.aclose()
                await asyncio.gather(call, return_exceptions=True)
            assert clock.took < 1.0
            assert isinstance(call.exception(), (DeadlineExceededError, ClosedError))

    run(main(), loop=loop)


@pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
def test_later_calls_are_refused(fake, loop, used):
    async def main():
        r = AsyncCluster.from_url(fake.url)
        if used:
            await r.get(KEY)
        await r.aclose()
        await r.aclose()  # twice is no fault
        for call in (r.get, r.mget, r.blpop):
            with pytest.raises(ClosedError):
                await call([KEY, OTHER] if call == r.mget else KEY)
        pipe = r.pipeline()
        pipe.get(KEY)
        with pytest.raises(ClosedError):
            await pipe.execute()

    run(main(), loop=loop)
    wait_until(lambda: not any(node.connections for node in fake.nodes))


def test_a_blocked_call_is_woken(fake, node, loop):
    node.on("BLPOP", silence())

    async def main():
        async with warm(fake) as r:
            call = asyncio.create_task(r.blpop(KEY))
            await received(node, "BLPOP")
            with Clock() as clock:
                await r.aclose()
                with pytest.raises(ClosedError):
                    await call
            assert clock.took < 1.0

    run(main(), loop=loop)


def test_closing_while_a_connection_is_opened_leaves_none(fake, node, loop):
    async def main():
        async with warm(fake, deadline=1.0) as r:
            pool = r._here().map.slots[r.keyslot(KEY)]
            node.pause()
            node.drop_connections()
            call = asyncio.create_task(r.get(KEY))
            await until(lambda: pool._opening is not None)
            await r.aclose()
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(outcome, (ClosedError, DeadlineExceededError))
        node.resume()
        await closed(*fake.nodes)

    run(main(), loop=loop)


def test_a_cancelled_close_is_finished_by_the_next(fake, node, loop):
    node.on("GET", delay(0.3, b"late"))

    async def main():
        async with warm(fake) as r:
            call = asyncio.create_task(r.get(KEY))
            await received(node, "GET")
            known, closing = r._here().map, asyncio.create_task(r.aclose())
            await until(lambda: known.closed)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            await r.aclose()
            await asyncio.gather(call, return_exceptions=True)
        await closed(*fake.nodes)

    run(main(), loop=loop)
