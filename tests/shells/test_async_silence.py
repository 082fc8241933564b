"""A connection that falls silent while its node lives: others leave it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from clustercache.exceptions import DeadlineExceededError, PoolTimeoutError
from clustercache.testing import FakeCluster, delay, silence
from tests.loops import LOOPS, run, until
from tests.shells.ticks import KEY, Clock, closed, echo, keys, lines, received, warm

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY)


@pytest.mark.parametrize("window", [1, 2, 1000])
@pytest.mark.parametrize("own", [True, False], ids=["a deadline of one's own", "the client's"])
def test_calls_leave_it_by_the_time_that_silence_is_noticed(fake, node, loop, window, own):
    node.on("GET", [silence(), echo])

    async def main():
        async with warm(fake, max_in_flight=window, socket_timeout=0.3, deadline=1.0) as r:
            block = r.deadline(0.2) if own else contextlib.nullcontext()
            came = None
            with Clock() as clock, block:
                while came is None:
                    with contextlib.suppress(DeadlineExceededError, PoolTimeoutError):
                        came = await r.get(KEY)
            assert came == KEY.encode()
            assert clock.took < 1.5

    run(main(), loop=loop)


def test_what_is_under_way_on_it_goes_on(fake, node, loop):
    node.on("GET", echo).on("INCR", delay(1.0, 7))

    async def main():
        async with warm(fake, socket_timeout=0.2) as r:
            slow = asyncio.create_task(r.execute_command("INCR", KEY))
            await received(node, "INCR")
            with Clock() as clock:
                assert await r.get(keys(1)[0]) == b"{bar}0"  # behind it: waits
                assert await slow == 7
                assert await r.get(KEY) == KEY.encode()
            assert 0.9 < clock.took < 2.0

    run(main(), loop=loop)
    assert len(node.received("INCR")) == 1


def test_who_comes_after_silence_was_noticed_does_not_wait_for_it(fake, node, loop):
    node.on("GET", echo).on("INCR", delay(2.0, 7))

    async def main():
        async with warm(fake, socket_timeout=0.2) as r:
            slow = asyncio.create_task(r.execute_command("INCR", KEY))
            await received(node, "INCR")
            await until(lambda: r.stats()["nodes"][node.address]["errors"])  # it is doubted
            with Clock() as clock:
                assert await r.get(KEY) == KEY.encode()
            assert clock.took < 1.0
            assert not slow.done()
            assert await slow == 7

    run(main(), loop=loop)
    assert not lines(node.received("INCR")) & lines(node.received("GET"))


@pytest.mark.parametrize("own", [True, False], ids=["a deadline of one's own", "the client's"])
def test_it_is_closed_when_nobody_waits_for_it_any_more(fake, node, loop, own):
    node.on("GET", [silence(), echo])

    async def main():
        async with warm(fake, socket_timeout=0.2, deadline=0.6) as r:
            (silent,) = node.connections
            block = r.deadline(0.1) if own else contextlib.nullcontext()
            with block, pytest.raises(DeadlineExceededError):
                await r.get(KEY)
            while await r.get(KEY) != KEY.encode():
                pass
            await closed(node, but=1)
            assert silent not in node.connections

    run(main(), loop=loop)


def test_a_deadline_longer_than_the_clients_is_kept_on_it(fake, node, loop):
    node.on("INCR", delay(1.0, 7))

    async def main():
        async with warm(fake, socket_timeout=0.2, deadline=0.3) as r:
            with r.deadline(3.0):
                assert await r.execute_command("INCR", KEY) == 7

    run(main(), loop=loop)
    assert len(node.received("INCR")) == 1


def test_what_waits_for_a_node_that_lost_its_slots_goes_where_they_are(fake, node, loop):
    other = next(one for one in fake.primaries if one is not node)
    node.on("GET", silence())
    other.on("GET", echo)

    async def main():
        async with warm(fake, socket_timeout=0.3) as r:
            call = asyncio.create_task(r.get(KEY))
            await received(node, "GET")
            fake.move(range(16384), other)
            with Clock() as clock:
                r._here().map.helper.refresh()
                assert await call == KEY.encode()
            assert clock.took < 2.0

    run(main(), loop=loop)
