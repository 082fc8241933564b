"""What asyncio adds to reads by a policy: one connection for many, which a read may leave."""

from __future__ import annotations

import asyncio

import pytest

from clustercache import AsyncCluster, ReadFrom
from clustercache._core.slots import key_slot
from clustercache.exceptions import PoolTimeoutError
from clustercache.testing import FakeCluster, delay
from tests.shells.readings import KEY, LINK_DOWN, alone, begun, cancelled, gets, kill, until

SPREAD = ReadFrom.PREFER_REPLICA


@pytest.fixture
def fake():
    with FakeCluster(primaries=2, replicas=2) as cluster:
        yield cluster


@pytest.fixture
def owner(fake):
    return fake.owner(KEY)


def reading(fake, policy, **options):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | options
    return AsyncCluster.from_url(fake.url, read_from=policy, **options)


def test_many_reads_leave_a_primary_that_falls_silent(fake, owner):
    async def main():
        async with reading(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
            await client.set(KEY, "1")
            await client.get(KEY)
            owner.pause()
            loop = asyncio.get_running_loop()
            began = loop.time()
            reads = [client.get(KEY) for _ in range(100)]
            reads += [client.mget(KEY, "foo") for _ in range(10)]
            results = await asyncio.gather(*reads)
            assert loop.time() - began < 0.3 + 0.45
            assert results == [b"1"] * 100 + [[b"1", None]] * 10
            (pool,) = (p for p in client._here().map.pools.values() if p.suspicion)
            assert not pool.impatient
            writing = asyncio.create_task(client.set(KEY, "2"))
            assert await client.get(KEY) == b"1"
            owner.resume()
            assert await writing

    asyncio.run(main())


def test_what_a_silent_node_says_later_is_nobodys(fake, owner):
    async def main():
        async with reading(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
            for number in range(20):
                await client.set(f"{{bar}}{number}", number)
            owner.pause()
            keys = [f"{{bar}}{number}" for number in range(20)]
            expected = [b"%d" % number for number in range(20)]
            assert await asyncio.gather(*map(client.get, keys)) == expected
            owner.resume()
            await until(lambda: not client.stats()["nodes"][owner.address]["suspected"])
            for _ in range(3):
                assert await asyncio.gather(*map(client.get, keys)) == expected

    asyncio.run(main())


def test_a_cancelled_read_is_forgotten(fake, owner):
    async def main():
        for replica in owner.replicas:
            replica.on("GET", delay(0.2, b"late"))
        async with reading(fake, SPREAD) as client:
            await client.set(KEY, "1")
            await client.get(KEY)
            readers = client._here().map.readers
            for _ in range(2):
                task = asyncio.create_task(client.get(KEY))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                await cancelled(task)
            await asyncio.sleep(0)
            assert not any(pool.impatient for pool in readers.pools)
            assert await client.get(KEY) == b"late"

    asyncio.run(main())


def test_a_primary_keeps_room_for_writes_when_its_replicas_are_gone(fake, owner):
    async def main():
        for replica in owner.replicas:
            fake.fail(replica)
        owner.on("GET", delay(0.05, b"1"))
        async with reading(fake, SPREAD, max_in_flight=4, socket_timeout=2.0) as client:
            await client.set(KEY, "1")
            reads = [asyncio.create_task(client.get(KEY)) for _ in range(8)]
            pool = client._here().map.slots[key_slot(KEY)]
            await until(lambda: pool.outstanding == 2)
            gate = client._here().map.readers.shard(key_slot(KEY)).gate
            assert gate._taken == 2
            assert pool.lane is not None, "no room for a write"
            assert await client.set(KEY, "2")
            await cancelled(reads.pop())
            assert await asyncio.gather(*reads) == [b"1"] * 7
            assert gate._taken == 0

    asyncio.run(main())


def test_reads_that_wait_for_a_place_give_up_in_time(fake, owner):
    async def main():
        for replica in owner.replicas:
            fake.fail(replica)
        owner.on("GET", delay(0.6, b"1"))
        async with reading(fake, SPREAD, max_in_flight=2, socket_timeout=2.0) as client:
            first = await begun(owner, client.get(KEY), "GET")
            with client.deadline(0.1), pytest.raises(PoolTimeoutError):
                await client.get(KEY)
            assert await first == b"1"

    asyncio.run(main())


def test_a_read_never_waits_for_the_connection_of_a_primary_that_is_gone(fake, owner):
    async def main():
        async with reading(fake, ReadFrom.PRIMARY_THEN_REPLICA) as client:
            await client.set(KEY, "1")
            await client.get(KEY)
            kill(owner)
            loop = asyncio.get_running_loop()
            began = loop.time()
            assert await asyncio.gather(*[client.get(KEY) for _ in range(100)]) == [b"1"] * 100
            assert loop.time() - began < 0.3

    asyncio.run(main())


def test_a_probe_of_a_lost_link_is_no_task_that_is_left(fake, owner):
    async def main():
        for replica in owner.replicas:
            replica.on("INFO", LINK_DOWN)
        client = reading(fake, SPREAD)

        async def probed():
            await client.get(KEY)
            return sum(gets(owner.replicas, "INFO")) > 4

        async with asyncio.timeout(5):
            while not await probed():
                await asyncio.sleep(0.005)
        await client.aclose()
        assert alone()

    asyncio.run(main())
