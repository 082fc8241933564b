"""A call that is cancelled takes nothing from others: its reply is swallowed, or it is not sent."""

from __future__ import annotations

import asyncio
import random

import pytest

from clustercache import AsyncCluster
from clustercache.exceptions import DeadlineExceededError, PoolTimeoutError
from clustercache.testing import FakeCluster, array, delay, error, push, raw
from tests.loops import LOOPS, run, until
from tests.shells.ticks import KEY, closed, echo, keys, lines, received, warm

pytestmark = pytest.mark.parametrize("loop", LOOPS)

FIRST, SECOND, THIRD = keys(3)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY).on("GET", echo)


def slowly(command, connection):
    return delay(0.1, command[1])


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# In mid-flight -------------------------------------------------------------------------------


def test_the_reply_of_a_cancelled_call_is_nobody_elses(fake, node, loop):
    node.on(f"GET {FIRST}", slowly)

    async def main():
        async with warm(fake) as r:
            first = asyncio.create_task(r.get(FIRST))
            await received(node, "GET")
            second = asyncio.create_task(r.get(SECOND))
            await cancelled(first)
            assert await second == SECOND.encode()
            assert await r.get(THIRD) == THIRD.encode()

    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 1


def test_half_a_reply_of_a_cancelled_call_is_nobody_elses(fake, node, loop):
    sent = []

    def half(command, connection):
        connection.send(raw(b"$8\r\nhalf"))
        sent.append(command)
        return delay(0.1, raw(b"half\r\n"))

    node.on(f"GET {FIRST}", half)

    async def main():
        async with warm(fake) as r:
            first = asyncio.create_task(r.get(FIRST))
            await until(lambda: sent)
            await cancelled(first)
            assert await asyncio.gather(r.get(SECOND), r.get(THIRD)) == [b"{bar}1", b"{bar}2"]

    run(main(), loop=loop)


def test_pushes_between_replies_are_no_ones_reply(fake, node, loop):
    def pushing(command, connection):
        connection.send(push(b"invalidate", [command[1]]))
        return command[1]

    node.on("GET", pushing)

    async def main():
        async with warm(fake) as r:
            first = asyncio.create_task(r.get(FIRST))
            await asyncio.sleep(0)
            first.cancel()
            found = await asyncio.gather(*map(r.get, keys(20)))
            assert [one.decode() for one in found] == keys(20)
            await asyncio.gather(first, return_exceptions=True)

    run(main(), loop=loop)


def test_cancelling_at_random_never_mixes_replies(fake, node, loop):
    """A thousand rounds; half of the calls are cancelled, at any point of their lives."""
    rng = random.Random(f"rounds in {loop}")
    node.on("GET", lambda command, connection: delay(rng.choice([0, 0, 0.0005]), command[1]))

    async def round_of(r, number):
        asked = [f"{{bar}}{number}-{one}" for one in range(rng.randint(1, 6))]
        calls = [asyncio.create_task(r.get(key)) for key in asked]
        for call in calls:
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)
            if rng.random() < 0.5:
                call.cancel()
        came = await asyncio.gather(*calls, return_exceptions=True)
        for key, result in zip(asked, came, strict=True):
            assert isinstance(result, asyncio.CancelledError) or result == key.encode()
        return sum(isinstance(result, asyncio.CancelledError) for result in came)

    async def main():
        async with warm(fake) as r:
            stopped = sum([await round_of(r, number) for number in range(1000)])
            assert 500 < stopped < 3000
            assert await r.get(KEY) == KEY.encode()

    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 1


# Before it is written -------------------------------------------------------------------------


async def leave(call, how):
    """Give a call up, in one of three ways."""
    if how == "cancelled":
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0.05)
        await cancelled(task)
    elif how == "timed out":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call
    else:
        # Who waited for room is told so.
        with pytest.raises((DeadlineExceededError, PoolTimeoutError)) as caught:
            await call
        assert caught.value.applied == "no"


@pytest.mark.parametrize("how", ["cancelled", "timed out", "expired"])
def test_what_is_given_up_while_its_connection_is_opened_is_never_written(fake, node, loop, how):
    async def main():
        async with warm(fake, socket_connect_timeout=5.0) as r:
            node.pause()  # the kernel completes connections, and nobody answers on them
            node.drop_connections()
            with r.deadline(0.05 if how == "expired" else 5.0):
                await leave(r.execute_command("INCR", KEY), how)
            node.resume()
            assert await r.get(SECOND) == SECOND.encode()

    run(main(), loop=loop)
    assert not node.received("INCR")


def test_what_was_answered_to_one_who_gave_up_is_not_told_to_a_later_one(node, loop):
    node.on("HELLO", delay(0.05, error("WRONGPASS invalid username-password pair")))

    async def main():
        async with AsyncCluster.from_url(node.url, password="secret", deadline=2.0) as r:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(r.get(KEY), 0.02)
            await until(lambda: r._here().map._learning is None)
            node.off("HELLO")  # the password is what it should be now
            assert await r.get(KEY) == KEY.encode()

    run(main(), loop=loop)


@pytest.mark.parametrize("how", ["cancelled", "timed out", "expired"])
def test_what_is_given_up_while_it_waits_for_a_place_is_never_written(fake, node, loop, how):
    node.on(f"GET {FIRST}", lambda command, connection: delay(0.3, command[1]))

    async def main():
        async with warm(fake, max_in_flight=1) as r:
            first = asyncio.create_task(r.get(FIRST))
            await received(node, "GET")
            with r.deadline(0.05 if how == "expired" else 5.0):
                await leave(r.execute_command("INCR", KEY), how)
            assert await r.get(SECOND) == SECOND.encode()
            assert await first == FIRST.encode()

    run(main(), loop=loop)
    assert not node.received("INCR")


def test_what_is_cancelled_in_its_own_tick_is_never_written(fake, node, loop):
    async def main():
        async with warm(fake) as r:
            for _ in range(20):
                task = asyncio.create_task(r.execute_command("INCR", KEY))
                other = asyncio.create_task(r.get(SECOND))
                task.cancel()  # before its first step
                assert await other == SECOND.encode()
                assert task.cancelled()

    run(main(), loop=loop)
    assert not node.received("INCR")


def test_what_is_cancelled_before_the_tick_is_over_is_not_written(fake, node, loop):
    async def main():
        async with warm(fake) as r:
            for _ in range(20):
                other = asyncio.create_task(r.get(SECOND))
                task = asyncio.create_task(r.execute_command("INCR", KEY))
                # Both take their first step before this goes on, and the write comes after it.
                await asyncio.sleep(0)
                await cancelled(task)
                assert await other == SECOND.encode()

    run(main(), loop=loop)
    assert not node.received("INCR")


def test_a_group_of_tasks_that_one_failure_cancels_leaves_the_client_well(fake, node, loop):
    node.on("GET", slowly)

    async def failing():
        await received(node, "GET", 10)
        raise ValueError("no more")

    async def grouped(r):
        async with asyncio.TaskGroup() as group:
            for key in keys(10):
                group.create_task(r.get(key))
            group.create_task(failing())

    async def main():
        async with warm(fake) as r:
            with pytest.raises(ExceptionGroup):
                await grouped(r)
            node.on("GET", echo)
            assert await r.get(SECOND) == SECOND.encode()

    run(main(), loop=loop)


def test_a_cancelled_pipeline_leaves_the_connection_in_step(fake, node, loop):
    node.on(f"GET {FIRST}", slowly)

    async def main():
        async with warm(fake) as r:
            pipe = r.pipeline()
            for key in keys(10):
                pipe.get(key)
            task = asyncio.create_task(pipe.execute())
            await received(node, "GET", 10)
            await cancelled(task)
            assert await r.get(SECOND) == SECOND.encode()
            assert await r.mget(SECOND, THIRD) == [None, None]

    run(main(), loop=loop)


def test_a_cancelled_blocking_call_closes_its_own_connection_and_harms_nobody(fake, node, loop):
    node.on("BLPOP", lambda command, connection: delay(0.3, array(KEY.encode(), b"x")))

    async def main():
        async with warm(fake) as r:
            task = asyncio.create_task(r.blpop(KEY))
            await received(node, "BLPOP")
            assert await r.get(SECOND) == SECOND.encode()
            await cancelled(task)
            assert await r.get(THIRD) == THIRD.encode()
            (own,) = lines(node.received("BLPOP"))
            assert own not in lines(node.received("GET"))
            await closed(node, but=1)
            assert own not in {connection.id for connection in node.connections}

    run(main(), loop=loop)
