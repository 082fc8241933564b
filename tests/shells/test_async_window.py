"""`max_in_flight`: so many commands are under way on a connection; others wait their turn."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from clustercache import AsyncCluster
from clustercache._async.turns import Turns
from clustercache.exceptions import ConfigurationError, DeadlineExceededError, PoolTimeoutError
from clustercache.testing import FakeCluster, delay, silence, simple
from tests.loops import LOOPS, run
from tests.shells.ticks import KEY, OTHER, Clock, echo, keys, lines, received, warm

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


class Slow:
    """Answers GET after a while each, and counts how many had come that had no answer yet."""

    def __init__(self, node, seconds=0.005):
        self.node = node.on("GET", self)
        self.seconds = seconds
        self.answered = 0
        self.most = 0

    def __call__(self, command, connection):
        self.most = max(self.most, len(self.node.received("GET")) - self.answered)
        self.answered += 1
        return delay(self.seconds, command[1])


@pytest.mark.parametrize("window", [1, 4])
def test_no_more_are_under_way_and_the_others_go_on_in_their_order(fake, loop, window):
    slow = Slow(fake.owner(KEY))
    ended = []

    async def get(r, key):
        assert await r.get(key) == key.encode()
        ended.append(key)

    async def main():
        async with warm(fake, max_in_flight=window) as r:
            await asyncio.gather(*(get(r, key) for key in keys(30)))

    run(main(), loop=loop)
    assert slow.most == window
    assert ended == keys(30)
    assert [one[1].decode() for one in slow.node.received("GET")] == keys(30)
    assert len(lines(slow.node.received("GET"))) == 1


def test_who_comes_later_does_not_overtake_who_waits(fake, loop):
    slow = Slow(fake.owner(KEY))

    async def main():
        async with warm(fake, max_in_flight=2) as r:
            calls = []
            for key in keys(40):
                calls.append(asyncio.create_task(r.get(key)))
                await asyncio.sleep(0.001)  # replies come in between, and make room
            await asyncio.gather(*calls)

    run(main(), loop=loop)
    assert [one[1].decode() for one in slow.node.received("GET")] == keys(40)
    assert slow.most <= 2


def test_a_full_window_of_one_node_holds_up_no_other(fake, loop):
    fake.owner(KEY).on("GET", delay(0.3, b"slow"))

    async def main():
        async with warm(fake, max_in_flight=1) as r:
            slow = [asyncio.create_task(r.get(key)) for key in keys(3)]
            await received(fake.owner(KEY), "GET")
            with Clock() as clock:
                await asyncio.gather(*map(r.get, keys(50, OTHER)))
            assert clock.took < 0.25
            await asyncio.gather(*slow)

    run(main(), loop=loop)


@pytest.mark.parametrize("waits", [True, False], ids=["that waits", "under way"])
def test_cancelling_one_holds_up_none_of_the_others(fake, loop, waits):
    slow = Slow(fake.owner(KEY), 0.02)

    async def main():
        async with warm(fake, max_in_flight=2) as r:
            calls = [asyncio.create_task(r.get(key)) for key in keys(10)]
            await received(slow.node, "GET", 2)
            gone = calls.pop(5 if waits else 1)
            gone.cancel()
            found = await asyncio.gather(*calls)
            assert gone.cancelled()
            assert len(found) == 9

    run(main(), loop=loop)
    # The reply of one that is under way is still to come: its place is taken until then.
    assert slow.most <= 2
    assert len(slow.node.received("GET")) == (9 if waits else 10)


def test_who_waits_keeps_to_the_deadline(fake, loop):
    node = fake.owner(KEY).on("GET", delay(0.6, b"slow"))

    async def main():
        async with warm(fake, max_in_flight=1) as r:
            first = asyncio.create_task(r.get(KEY))
            await received(node, "GET")
            with Clock() as clock, r.deadline(0.2), pytest.raises(PoolTimeoutError) as caught:
                await r.execute_command("INCR", KEY)
            assert 0.15 < clock.took < 0.3
            assert caught.value.applied == "no"
            assert await first == b"slow"

    run(main(), loop=loop)
    assert not node.received("INCR")


def test_a_silent_node_fails_nobody_who_waits_before_his_time(fake, loop):
    node = fake.owner(KEY).on("GET", silence())

    async def main():
        async with warm(fake, max_in_flight=1, deadline=0.4, socket_timeout=5.0) as r:
            with Clock() as clock:
                found = await asyncio.gather(*map(r.get, keys(5)), return_exceptions=True)
            assert {type(one) for one in found} <= {DeadlineExceededError, PoolTimeoutError}
            assert all(one.applied == "no" for one in found)
            assert 0.35 < clock.took < 0.6
            node.on("GET", echo)
            assert await r.get(KEY) == KEY.encode()

    run(main(), loop=loop)


@pytest.mark.parametrize("wrong", [0, -1, "4", 1.5])
def test_a_window_is_a_whole_number_of_at_least_one(fake, loop, wrong):
    with pytest.raises(ConfigurationError, match="max_in_flight"):
        AsyncCluster.from_url(fake.url, max_in_flight=wrong)


def test_the_room_of_a_connection_that_is_never_made_is_the_next_ones(fake, loop):
    node = fake.owner(KEY)

    async def watch(r):
        async with r.pipeline(transaction=True) as pipe:
            return await pipe.watch(KEY)

    async def main():
        async with warm(fake, max_connections=1) as r:
            node.on("WATCH", simple("OK")).on("UNWATCH", simple("OK")).on("HELLO", silence())
            before = len(node.received("HELLO"))
            first = asyncio.create_task(watch(r))
            await received(node, "HELLO", before + 1)
            node.off("HELLO")
            second = asyncio.create_task(watch(r))
            await asyncio.sleep(0)
            first.cancel()
            with Clock() as clock:
                assert await second
            assert clock.took < 0.5

    run(main(), loop=loop)


def test_many_who_wait_in_line_do_not_look_for_their_places(loop):
    """The work for each is the same, however many wait."""

    async def seconds(count):
        turns = Turns(asyncio.get_running_loop())
        waiting = [asyncio.create_task(turns.wait(time.monotonic() + 60)) for _ in range(count)]
        await asyncio.sleep(0)
        gc.collect()
        gc.disable()  # what else is in the process is not these calls' work
        began = time.process_time()
        for number, one in enumerate(waiting):
            if number % 2:
                turns.call_next()
            else:
                one.cancel()
            await asyncio.sleep(0)
        turns.call_all()
        await asyncio.wait(waiting)
        took = time.process_time() - began
        gc.enable()
        return took

    async def main():
        few = min([await seconds(1000) for _ in range(3)])
        many = min([await seconds(16_000) for _ in range(3)])
        assert many < 100 * few  # were it to look for them, 256 times

    run(main(), loop=loop)
