"""Deadlines in an event loop: kept, and without a timer for each call."""

from __future__ import annotations

import asyncio

import pytest

from clustercache import AsyncCluster
from clustercache.exceptions import DeadlineExceededError, NoClusterError, OutcomeUnknownError
from clustercache.testing import FakeCluster, delay, error, silence
from tests.loops import LOOPS, run
from tests.shells.ticks import KEY, OTHER, Clock, echo, keys, lines, received, warm

LATE = 0.06
"""Seconds by which a deadline may be missed."""


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY)


def counted(loop):
    """Count the timers that a loop is asked for; call_later goes by call_at."""
    made, original = [], loop.call_at

    def call_at(*args, **options):
        made.append(args)
        return original(*args, **options)

    loop.call_at = call_at
    return made


async def one_after_another(r):
    for _ in range(1000):
        await r.get(KEY)


async def together(r):
    for _ in range(10):
        await asyncio.gather(*map(r.get, keys(100)))


@pytest.mark.parametrize("work", [one_after_another, together])
def test_a_thousand_calls_take_no_thousand_timers(fake, work):
    async def main():
        async with warm(fake) as r:
            made = counted(asyncio.get_running_loop())
            await work(r)
            return len(made)

    assert run(main()) < 30


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", ["GET", "INCR"])
def test_the_deadline_of_a_silent_node_is_kept(fake, node, loop, name):
    kind, applied = {
        "GET": (DeadlineExceededError, "no"),
        "INCR": (OutcomeUnknownError, "maybe"),
    }[name]
    node.on(name, silence())

    async def main():
        async with warm(fake) as r:
            with Clock() as clock, r.deadline(0.2), pytest.raises(kind) as caught:
                await r.execute_command(name, KEY)
            assert 0.2 - 0.01 < clock.took < 0.2 + LATE
            assert caught.value.applied == applied

    run(main(), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_nearer_deadline_does_not_wait_for_those_before_it(fake, node, loop):
    node.on("GET", silence())

    async def expires(r, seconds):
        with Clock() as clock, r.deadline(seconds), pytest.raises(DeadlineExceededError):
            await r.get(KEY)
        assert seconds - 0.01 < clock.took < seconds + LATE

    async def main():
        async with warm(fake, socket_timeout=5.0) as r:
            await asyncio.gather(*(expires(r, seconds) for seconds in (0.5, 0.3, 0.1, 0.2, 0.4)))

    run(main(), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_node_delays_no_deadline_and_no_reply_of_another(fake, node, loop):
    node.on("GET", silence())

    async def main():
        async with warm(fake) as r:
            with r.deadline(0.3):
                silent = asyncio.create_task(r.get(KEY))
            with Clock() as clock:
                for _ in range(100):
                    await r.get(OTHER)
            assert clock.took < 0.3
            with pytest.raises(DeadlineExceededError):
                await silent

    run(main(), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_block_holds_for_its_own_task_alone(fake, node, loop):
    node.on("GET", delay(0.3, b"late"))

    async def impatient(r):
        with r.deadline(0.1):
            with pytest.raises(DeadlineExceededError):
                await r.get(KEY)
            await asyncio.sleep(0.3)

    async def main():
        async with warm(fake) as r:
            other = asyncio.create_task(impatient(r))
            await asyncio.sleep(0)
            assert await r.get(KEY) == b"late"
            await other

    run(main(), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("by", ["timeout", "wait_for"])
def test_asyncios_own_timeouts_end_a_call_and_leave_the_client_well(fake, node, loop, by):
    node.on("GET", echo).on("GET slow{bar}", lambda command, connection: delay(0.3, command[1]))

    async def limited(call):
        if by == "wait_for":
            return await asyncio.wait_for(call, 0.1)
        async with asyncio.timeout(0.1):
            return await call

    async def main():
        async with warm(fake) as r:
            with Clock() as clock, pytest.raises(TimeoutError):
                await limited(r.get("slow{bar}"))
            assert clock.took < 0.1 + LATE
            assert await r.get(KEY) == KEY.encode()
            assert await limited(r.get(KEY)) == KEY.encode()

    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_a_timeout_around_a_deadline_is_the_nearer_of_both(fake, node, loop):
    node.on("GET", silence())

    async def main():
        async with warm(fake) as r:
            with Clock() as clock, r.deadline(0.1), pytest.raises(DeadlineExceededError):
                await asyncio.wait_for(r.get(KEY), 2.0)
            assert clock.took < 0.1 + LATE

    run(main(), loop=loop)


def test_a_loop_that_was_blocked_does_not_take_replies_for_late(fake, node):
    """What has come while something else kept the loop busy is there: it did not come too late."""

    async def main():
        async with warm(fake) as r:
            with r.deadline(0.2):
                call = asyncio.create_task(r.execute_command("INCR", KEY))
                await received(node, "INCR")
            with Clock() as clock:
                while clock.__exit__() or clock.took < 0.3:
                    pass
            assert await call == 1

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_many_who_wait_for_the_topology_ask_for_it_no_oftener_than_one(fake, node, loop):
    node.on("HELLO", error("LOADING soon"))

    async def main():
        async with AsyncCluster.from_url(node.url, deadline=0.5) as r:
            found = await asyncio.gather(*map(r.get, keys(100)), return_exceptions=True)
            assert {type(one) for one in found} == {NoClusterError}

    run(main(), loop=loop)
    assert 3 <= len(node.all_connections) <= 11  # a pause is of 50 ms at the least
