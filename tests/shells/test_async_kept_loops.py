"""A loop that something keeps for longer than any timeout blames no node for it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from clustercache import AsyncCluster
from clustercache.exceptions import DeadlineExceededError
from clustercache.instrumentation import NodeSuspected
from clustercache.testing import FakeCluster, silence
from tests.loops import LOOPS, run
from tests.shells.ticks import KEY, OTHER, Clock, echo

pytestmark = pytest.mark.parametrize("loop", LOOPS)
TIMEOUT = 0.15
KEPT = 0.3
"""Seconds, the one twice the other."""


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.mark.parametrize("tick", range(10))
def test_a_connection_is_made_though_the_loop_is_kept_meanwhile(fake, loop, tick):
    fake.owner(KEY).on("GET", echo)
    events = []

    async def main():
        options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "deadline": 3.0}
        async with AsyncCluster.from_url(fake.url, hooks=[events.append], **options) as r:
            await r.exists(OTHER)  # knows the map, and has no connection to the other node
            call = asyncio.create_task(r.get(KEY))
            for _ in range(tick):
                await asyncio.sleep(0)
            time.sleep(KEPT)  # noqa: ASYNC251 - what is tested
            assert await call == KEY.encode()

    with Clock() as clock:
        run(main(), loop=loop)
    assert not [event for event in events if isinstance(event, NodeSuspected)]
    assert clock.took < KEPT + 1.0


def test_a_loop_that_is_always_late_gives_up_on_a_silent_node_all_the_same(fake, loop):
    async def keep():
        while True:
            time.sleep(0.08)  # noqa: ASYNC251 - what is tested
            await asyncio.sleep(0)

    async def main():
        async with AsyncCluster.from_url(fake.url, socket_connect_timeout=TIMEOUT) as r:
            await r.exists(OTHER)
            fake.owner(KEY).on("HELLO", silence())
            keeper = asyncio.create_task(keep())
            with Clock() as clock, r.deadline(1.0), suppress(DeadlineExceededError):
                await r.get(KEY)
            keeper.cancel()
            return clock.took

    assert 0.9 < run(main(), loop=loop, tasks=True) < 2.5
