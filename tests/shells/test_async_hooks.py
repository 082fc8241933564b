"""What hooks are told of calls that interleave in one thread."""

from __future__ import annotations

import asyncio

import pytest

from clustercache import AsyncCluster
from clustercache._core.address import Address
from clustercache.instrumentation import CommandDone
from clustercache.instrumentation.hooks import Observer, TaskTrail
from clustercache.testing import FakeCluster, error


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


def test_calls_of_tasks_that_interleave_have_a_trail_each(fake):
    told = []

    async def story():
        async with AsyncCluster.from_url(fake.url, hooks=[told.append]) as client:
            await client.mset({"bar": "1", "foo": "1"})
            told.clear()
            fake.owner("bar").on("GET", [error("LOADING soon"), error("LOADING soon"), b"1"])
            slow = asyncio.ensure_future(client.get("bar"))
            await asyncio.gather(*(client.get("foo") for _ in range(5)))
            assert not slow.done()
            await slow

    asyncio.run(story())
    done = [(one.attempts, one.node) for one in told if type(one) is CommandDone]
    assert done == [(1, fake.owner("foo").address)] * 5 + [(3, fake.owner("bar").address)]


def test_the_tasks_of_a_split_call_share_its_trail(fake):
    told = []

    async def story():
        async with AsyncCluster.from_url(fake.url, hooks=[told.append]) as client:
            await client.mset({"bar": "1", "foo": "1"})
            fake.owner("bar").on("MGET", [error("LOADING soon"), [b"1"]])
            assert await client.mget("bar", "foo") == [b"1", b"1"]

    asyncio.run(story())
    assert [one.attempts for one in told if type(one) is CommandDone] == [1, 2]


def test_what_a_hook_starts_is_told_to_nobody(fake):
    told, started = [], []

    def hook(event):
        told.append(event)
        if type(event) is CommandDone:
            started.append(asyncio.ensure_future(client.get("foo")))

    async def story():
        async with client:
            await client.set("foo", "1")
            assert await asyncio.gather(*started) == [b"1"]
            assert await client.get("foo") == b"1"
            await asyncio.gather(*started)

    client = AsyncCluster.from_url(fake.url, hooks=[hook])
    asyncio.run(story())
    assert [one.command for one in told if type(one) is CommandDone] == ["SET", "GET"]


def test_a_call_that_is_cancelled_is_told(fake):
    told = []

    async def story():
        async with AsyncCluster.from_url(fake.url, hooks=[told.append]) as client:
            await client.set("bar", "1")
            task = asyncio.ensure_future(client.get("bar"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(story())
    done = [(one.command, one.error) for one in told if type(one) is CommandDone]
    assert done == [("SET", None), ("GET", "CancelledError")]


def test_outside_of_a_call_nothing_is_noted():
    observer = Observer([print], TaskTrail())
    observer.sent_to(Address("h", 1))
    observer.trail.attempts = 7
    assert (observer.trail.attempts, observer.trail.nodes) == (1, ())
