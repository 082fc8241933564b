"""What asyncio adds to blocking calls and durable writes: cancelling, closing, loops."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from clustercache import AsyncCluster, ReadFrom
from clustercache.exceptions import ClosedError
from clustercache.testing import FakeCluster, array, delay, integer, null, silence, simple
from tests.shells.readings import KEY, alone, begun, cancelled, until

SPREAD = ReadFrom.PREFER_REPLICA


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=2) as cluster:
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


def apart(client, owner):
    """The connections for calls that last, and those among them that are idle."""
    (pool,) = (p for p in client._here().map.pools.values() if str(p.address) == owner.address)
    return pool.apart()


# Blocking calls ----------------------------------------------------------------------------------


def test_cancelling_closes_the_connection_and_harms_nobody(fake, owner):
    async def main():
        owner.on("BLPOP", silence())
        async with AsyncCluster.from_url(fake.url, max_connections=2) as client:
            other = await begun(owner, client.blpop(KEY))
            mine = await begun(owner, client.blpop(KEY))
            await cancelled(mine)
            assert apart(client, owner).size == 1
            assert not other.done()
            assert await client.set(KEY, "1")
            owner.on("BLPOP", array(KEY.encode(), b"x"))
            assert await client.blpop(KEY, 1) == (KEY.encode(), b"x")
            await cancelled(other)
        first, second, third = owner.received("BLPOP")
        assert len({one.connection_id for one in (first, second, third)}) == 3
        assert alone()

    asyncio.run(main())


@pytest.mark.parametrize("ticks", range(12))
def test_cancelling_at_any_await_leaves_nothing_behind(fake, owner, ticks):
    async def main():
        owner.on("BLPOP", silence())
        async with AsyncCluster.from_url(fake.url) as client:
            await client.get(KEY)
            task = asyncio.create_task(client.blpop(KEY))
            for _ in range(ticks):
                await asyncio.sleep(0)
            await cancelled(task)
            await until(lambda: apart(client, owner).size == 0)
            assert apart(client, owner)._beginning == 0
            assert alone()

    asyncio.run(main())


def test_who_waits_for_a_connection_gets_that_of_a_cancelled_call(fake, owner):
    async def main():
        owner.on("BLPOP", [silence(), null()])
        async with AsyncCluster.from_url(fake.url, max_connections=1) as client:
            first = await begun(owner, client.blpop(KEY))
            second = asyncio.create_task(client.blpop(KEY, 1))
            await until(lambda: bool(apart(client, owner)._leasing))
            await cancelled(first)
            assert await second is None

    asyncio.run(main())


def test_one_that_waits_for_a_connection_may_be_cancelled(fake, owner):
    async def main():
        owner.on("BLPOP", [delay(0.2, null()), null()])
        async with AsyncCluster.from_url(fake.url, max_connections=1) as client:
            first = await begun(owner, client.blpop(KEY, 1))
            second = asyncio.create_task(client.blpop(KEY, 1))
            await until(lambda: bool(apart(client, owner)._leasing))
            await cancelled(second)
            assert await first is None
            assert await client.blpop(KEY, 1) is None

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has its own times")
def test_a_host_that_is_gone_is_found_by_the_kernel(fake, owner):
    async def main():
        owner.on("BLPOP", null())
        async with AsyncCluster.from_url(fake.url) as client:
            await client.blpop(KEY, 1)
            (connection,) = apart(client, owner)._idle
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            sock = connection._sock
            told = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert told == [5, 5, 2]

    asyncio.run(main())


def test_a_call_that_has_waited_longer_than_a_deadline_still_gets_its_reply(fake, owner):
    async def main():
        owner.on("BLPOP", delay(0.6, array(KEY.encode(), b"x")))
        options = {"deadline": 0.2, "socket_timeout": 0.1}
        async with AsyncCluster.from_url(fake.url, **options) as client:
            assert await client.blpop(KEY) == (KEY.encode(), b"x")

    asyncio.run(main())


def test_a_client_that_is_closed_while_a_connection_is_opened_keeps_none(fake, owner):
    async def main():
        owner.on("BLPOP", silence())
        client = AsyncCluster.from_url(fake.url, client_name="x")
        await client.get(KEY)
        owner.on("CLIENT SETNAME", delay(0.2, simple("OK")))
        task = await begun(owner, client.blpop(KEY), "CLIENT SETNAME")
        await client.aclose()
        with pytest.raises(ClosedError):
            await task
        assert not owner.received("BLPOP")
        assert alone()

    asyncio.run(main())


def test_who_waits_for_a_connection_opens_it_when_the_other_is_cancelled(fake, owner):
    async def main():
        owner.on("BLPOP", null())
        options = {"max_connections": 1, "client_name": "x"}
        async with AsyncCluster.from_url(fake.url, **options) as client:
            await client.get(KEY)
            owner.on("CLIENT SETNAME", [silence(), simple("OK")])
            first = await begun(owner, client.blpop(KEY, 1), "CLIENT SETNAME")
            second = asyncio.create_task(client.blpop(KEY, 1))
            await until(lambda: bool(apart(client, owner)._leasing))
            await cancelled(first)
            async with asyncio.timeout(0.7):
                assert await second is None

    asyncio.run(main())


def test_closing_ends_blocked_calls_at_once_and_lets_others_finish(fake, owner):
    async def main():
        owner.on("BLPOP", silence())
        owner.on("GET", delay(0.2, b"done"))
        client = AsyncCluster.from_url(fake.url)
        await client.set(KEY, "1")
        blocked = await begun(owner, client.blpop(KEY))
        reading = await begun(owner, client.get(KEY), "GET")
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.aclose()
        assert loop.time() - began < 1.0
        assert await reading == b"done"
        with pytest.raises(ClosedError) as caught:
            await blocked
        assert caught.value.applied == "maybe"
        assert alone()

    asyncio.run(main())


def test_consumers_leave_other_calls_that_need_a_connection_their_own(fake, owner):
    async def main():
        owner.on("BLPOP", silence())
        async with AsyncCluster.from_url(fake.url, max_connections=1, deadline=1.0) as client:
            blocked = await begun(owner, client.blpop(KEY))
            assert await client.set(KEY, b"x" * 300_000), "it is large, and goes apart"
            assert not blocked.done()
            await cancelled(blocked)

    asyncio.run(main())


def test_each_loop_has_its_own_and_a_closed_one_is_no_trouble(fake, owner):
    client = AsyncCluster.from_url(fake.url, read_from=SPREAD)
    owner.on("BLPOP", null())
    owner.on("WAIT", integer(1))

    async def use():
        await client.set(KEY, "1")
        assert [await client.get(KEY) for _ in range(4)] == [b"1"] * 4
        assert await client.mget(KEY, "foo") == [b"1", None]
        assert await client.blpop(KEY, 1) is None
        async with client.durable() as d:
            assert await d.set(KEY, "1")
            assert d.acknowledged == 1

    for _ in range(2):
        asyncio.run(use())

    async def end():
        await use()
        await client.aclose()
        assert alone()

    asyncio.run(end())
    gc.collect()
    for node in fake.nodes:
        node.wait_for(lambda node=node: not node.connections)


# Durable writes ----------------------------------------------------------------------------------


def test_a_wait_keeps_no_other_call_waiting(fake, owner):
    async def main():
        owner.on("WAIT", delay(0.3, integer(1)))
        async with AsyncCluster.from_url(fake.url) as client:
            await client.get(KEY)
            async with client.durable(timeout=1.0) as d:
                writing = await begun(owner, d.set(KEY, "v"), "SET")
                assert await client.get(KEY) is not None
                assert not writing.done()
                await writing
                assert d.acknowledged == 1
        (write,), (wait,) = owner.received("SET"), owner.received("WAIT")
        assert (write.connection_id, write.chunk) == (wait.connection_id, wait.chunk)
        assert owner.received("GET")[0].connection_id != write.connection_id

    asyncio.run(main())


def test_a_cancelled_durable_write_leaves_nothing(fake, owner):
    async def main():
        owner.on("WAIT", silence())
        async with AsyncCluster.from_url(fake.url) as client:
            writing = await begun(owner, client.durable(timeout=5.0).set(KEY, "v"), "WAIT")
            await cancelled(writing)
            assert apart(client, owner).size == 0
            assert alone()

    asyncio.run(main())
