"""Subscriptions and their loops, a forked child, and the names of both shells."""

from __future__ import annotations

import asyncio
import gc
import inspect
import multiprocessing

import pytest
import redis.asyncio

from clustercache import AsyncCluster, Cluster
from clustercache._async.pubsub import AsyncPubSub
from clustercache._sync.pubsub import PubSub
from clustercache.exceptions import InvalidArgumentError
from clustercache.testing import FakeCluster
from tests.loops import until
from tests.shells.pubsub_stories import data, messages, with_client
from tests.shells.subscribers import Broker


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def broker(fake):
    return Broker(fake)


# Loops -------------------------------------------------------------------------------------------


def test_subscriptions_go_on_on_another_loop_once_theirs_is_closed(fake, broker):
    client = AsyncCluster.from_url(fake.url)
    ps = client.pubsub()

    async def begin():
        await ps.ssubscribe("foo")
        await messages(ps, 1)

    async def go_on():
        assert await data(ps, 2) == ["connection lost", "subscribed again"]
        broker.send("s", b"foo", b"1")
        assert await data(ps, 1) == [b"1"]
        await client.aclose()

    async def elsewhere():
        await client.initialize()

    asyncio.run(begin())
    asyncio.run(elsewhere())
    fake.nodes[0].wait_for(lambda: not broker.nodes_with("s", b"foo"))
    asyncio.run(go_on())


def test_subscriptions_belong_to_one_loop_while_it_is_open(fake, broker):
    client = AsyncCluster.from_url(fake.url)
    ps = client.pubsub()

    async def use():
        await ps.subscribe("a")

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(use())
        with pytest.raises(InvalidArgumentError, match="loop"):
            second.run(use())
        second.run(ps.aclose())  # its own loop does it
        first.run(until(lambda: not ps.subscribed))
        first.run(client.aclose())


def test_what_its_owner_forgot_is_closed_by_its_loop(fake, broker):
    async def run(client):
        await client.pubsub().ssubscribe("foo", "bar")
        gc.collect()
        await until(lambda: not broker.nodes_with("s", b"foo"))
        followers = client._knowledge.here().map.followers
        assert not followers._all

    with_client(fake, run)


def test_a_child_makes_connections_of_its_own(fake, broker):
    client = AsyncCluster.from_url(fake.url)
    ps = client.pubsub()

    async def begin():
        await ps.ssubscribe("foo")
        await messages(ps, 1)

    def child(done):
        async def talk():
            done.send(await data(ps, 2))
            done.send((await data(ps, 1))[0])
            await client.aclose()

        asyncio.run(talk())

    with asyncio.Runner() as runner:
        runner.run(begin())
        (mine,) = broker.held[fake.owner("foo"), "s", b"foo"]
        before = len(mine.chunks)
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
        process.start()
        assert here.poll(10)
        assert here.recv() == ["process forked", "subscribed again"]
        assert len(mine.chunks) == before
        broker.send("s", b"foo", b"both")
        assert here.poll(10)
        assert here.recv() == b"both"
        process.join(10)
        assert process.exitcode == 0
        process.close()
        assert runner.run(data(ps, 1)) == [b"both"]
        assert not mine.closed
        runner.run(client.aclose())
    here.close()
    there.close()


# Parity ------------------------------------------------------------------------------------------

ALIKE = [
    *("subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"),
    *("get_message", "get_sharded_message", "listen", "ping", "keyspace", "keyevent"),
]


@pytest.mark.parametrize("name", ALIKE)
def test_signatures_are_the_blocking_ones(name):
    ours, theirs = (inspect.signature(getattr(one, name)) for one in (AsyncPubSub, PubSub))
    assert list(ours.parameters.values()) == list(theirs.parameters.values())


def test_nothing_of_the_blocking_one_is_missing():
    names = {name for name in vars(PubSub) if not name.startswith("_")}
    assert names - {"run_in_thread", "close", "after_fork"} <= set(dir(AsyncPubSub))
    assert inspect.signature(AsyncCluster.pubsub).parameters.keys() == (
        inspect.signature(Cluster.pubsub).parameters.keys()
    )


@pytest.mark.parametrize(
    "name",
    [*ALIKE[:7], "listen", "ping", "run", "aclose", "reset", "subscribed"],
)
def test_redis_pys_methods_are_there_with_its_arguments(name):
    theirs, ours = getattr(redis.asyncio.client.PubSub, name), getattr(AsyncPubSub, name)
    if callable(theirs):
        wanted = inspect.signature(theirs).parameters.keys() - {"sharded_pubsub"}
        assert wanted <= inspect.signature(ours).parameters.keys()
