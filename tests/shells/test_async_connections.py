"""What may not share the connection of all others: blocking calls, WATCH, pub/sub, large values."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from clustercache.testing import FakeCluster, array, delay, error, simple
from tests.loops import LOOPS, run
from tests.shells.subscribers import Broker
from tests.shells.ticks import KEY, Clock, echo, keys, lines, received, warm

pytestmark = pytest.mark.parametrize("loop", LOOPS)

LARGE = 64 * 1024 * 1024


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY)


def test_a_blocked_call_holds_up_nobody(fake, node, loop):
    node.on("BLPOP", delay(0.3, array(KEY.encode(), b"x")))

    async def main():
        async with warm(fake) as r:
            blocked = asyncio.create_task(r.blpop(KEY))
            await received(node, "BLPOP")
            with Clock() as clock:
                await asyncio.gather(*map(r.get, keys(50)))
            assert clock.took < 0.25
            assert await blocked == (KEY.encode(), b"x")

    run(main(), loop=loop)
    assert not lines(node.received("BLPOP")) & lines(node.received("GET"))


def test_blocked_calls_have_a_connection_each_and_it_is_used_again(fake, node, loop):
    node.on("BLPOP", delay(0.1, array(KEY.encode(), b"x")))

    async def main():
        async with warm(fake) as r:
            await asyncio.gather(*(r.blpop(KEY) for _ in range(3)))
            await r.blpop(KEY)

    run(main(), loop=loop)
    assert len(lines(node.received("BLPOP"))) == 3


def test_what_is_watched_is_watched_on_a_connection_of_its_own(fake, node, loop):
    node.on("WATCH", simple("OK")).on("MULTI", simple("OK")).on("SET", simple("QUEUED"))
    node.on("EXEC", [[simple("OK")]])

    async def main():
        async with warm(fake) as r, r.pipeline(transaction=True) as pipe:
            await pipe.watch(KEY)
            assert await pipe.get(KEY) is None
            assert await r.get(KEY) is None
            pipe.multi()
            pipe.set(KEY, "1")
            assert await pipe.execute() == [True]

    run(main(), loop=loop)
    (own,) = lines(node.received("WATCH"))
    assert lines(node.received("EXEC")) == {own}
    watched, shared = node.received("GET")
    assert watched.connection_id == own != shared.connection_id


@asynccontextmanager
async def watching(r):
    async with r.pipeline(transaction=True) as pipe:
        await pipe.watch(KEY)
        yield


def test_two_who_watch_do_not_share(fake, node, loop):
    node.on("WATCH", simple("OK")).on("UNWATCH", simple("OK"))

    async def main():
        async with warm(fake) as r, watching(r), watching(r):
            pass

    run(main(), loop=loop)
    assert len(lines(node.received("WATCH"))) == 2


def test_subscriptions_have_connections_of_their_own(fake, node, loop):
    broker = Broker(fake)

    async def main():
        async with warm(fake) as r, r.pubsub(ignore_subscribe_messages=True) as ps:
            await ps.subscribe("news")
            (at,) = broker.nodes_with("", b"news")
            broker.send("", b"news", b"hello")
            await asyncio.gather(*map(r.get, keys(10)))
            message = None
            while message is None:
                message = await ps.get_message(timeout=1.0)
            assert message["data"] == b"hello"
            assert not lines(at.received("SUBSCRIBE")) & lines(at.received("EXISTS"))

    run(main(), loop=loop)


def test_a_large_value_does_not_stall_small_commands(fake, node, loop):
    node.on("SET", simple("OK")).on("GET", echo)
    during = []

    async def small(r, large):
        while not large.done():
            with Clock() as clock:
                await r.get(KEY)
            during.append(clock.took)

    async def main():
        async with warm(fake) as r:
            value = bytes(LARGE)
            large = asyncio.create_task(r.set("{bar}large", value))
            await small(r, large)
            assert await large is True

    run(main(), loop=loop)
    assert not lines(node.received("SET")) & lines(node.received("GET"))
    # Packing it takes the loop a while, and not more than that.
    assert sorted(during)[len(during) // 2] < 0.1
    assert max(during) < 2.0


def test_a_large_value_that_is_redirected_or_refused_goes_on_as_others(fake, node, loop):
    node.on("SET", [error("LOADING x"), simple("OK")])

    async def main():
        async with warm(fake) as r:
            return await r.set("{bar}large", bytes(8 * 1024 * 1024))

    assert run(main(), loop=loop) is True
    assert len(node.received("SET")) == 2


def test_large_values_at_once_are_bounded_by_max_connections(fake, node, loop):
    node.on("SET", delay(0.02, simple("OK")))

    async def main():
        async with warm(fake, max_connections=3) as r:
            value = bytes(4 * 1024 * 1024)
            results = await asyncio.gather(*(r.set(key, value) for key in keys(8)))
            assert results == [True] * 8
            assert len(node.connections) <= 1 + 3  # the one that all share is not counted

    run(main(), loop=loop)


def test_a_node_that_does_not_read_holds_up_no_other(fake, node, loop):
    async def main():
        async with warm(fake, deadline=1.0, socket_timeout=5.0) as r:
            node.pause()
            calls = [asyncio.create_task(r.set(key, bytes(16 * 1024))) for key in keys(500)]
            await asyncio.sleep(0.01)
            with Clock() as clock:
                await asyncio.gather(*map(r.get, keys(50, "foo")))
            assert clock.took < 0.3
            node.resume()
            assert await asyncio.gather(*calls) == [True] * 500

    run(main(), loop=loop)
