"""What one tick of a loop sends to a node is one write, on the one connection to it."""

from __future__ import annotations

import asyncio

import pytest

from clustercache import AsyncCluster
from clustercache.testing import FakeCluster, error
from tests.loops import LOOPS, run
from tests.shells.ticks import KEY, OTHER, echo, keys, lines, received, warm, ways

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


def test_the_commands_of_one_tick_are_one_write_to_each_node(fake, loop):
    async def main():
        async with warm(fake) as r:
            found = await asyncio.gather(*map(r.get, [*keys(100), *keys(100, OTHER)]))
        assert found == [None] * 200

    run(main(), loop=loop)
    for node in fake.primaries:
        assert len(node.received("GET")) == 100
        assert len(ways(node.received("GET"))) == 1


def test_commands_of_all_kinds_share_the_write_and_keep_their_order(fake, loop):
    async def main():
        async with warm(fake) as r:
            return await asyncio.gather(
                r.set(KEY, "1"),
                r.execute_command("INCR", KEY),
                r.get(KEY),
                r.hset("{bar}h", "f", "v"),
                r.hgetall("{bar}h"),
                r.sadd("{bar}s", "m"),
                r.delete(KEY),
                r.exists(KEY),
            )

    assert run(main(), loop=loop) == [True, 2, b"2", 1, {b"f": b"v"}, 1, 1, 0]
    node = fake.owner(KEY)
    names = ["SET", "INCR", "GET", "HSET", "HGETALL", "SADD", "DEL", "EXISTS"]
    seen = [one for one in node.commands if one.name in names][1:]  # EXISTS made it warm
    assert [one.name for one in seen] == names
    assert len(ways(seen)) == 1


def test_what_follows_a_reply_uses_the_same_connection(fake, loop):
    async def main():
        async with warm(fake) as r:
            for key in keys(100):
                await r.get(key)

    run(main(), loop=loop)
    node = fake.owner(KEY)
    assert len(lines(node.received("GET"))) == 1
    assert lines(node.received("GET")) == lines(node.received("EXISTS"))


def test_commands_do_not_wait_for_the_replies_before_them(fake, loop):
    node = fake.owner(KEY)

    async def main():
        async with warm(fake) as r:
            node.pause()
            calls = []
            for key in keys(20):
                calls.append(asyncio.create_task(r.get(key)))
                await asyncio.sleep(0)
            node.resume()
            await asyncio.gather(*calls)

    run(main(), loop=loop)
    assert [bytes(one[1]).decode() for one in node.received("GET")] == keys(20)
    assert len(lines(node.received("GET"))) == 1


def test_a_client_that_is_cold_opens_one_connection_to_each_node_and_asks_for_the_map_once(
    fake, loop
):
    for node in fake.primaries:
        node.on("GET", echo)

    async def main():
        async with AsyncCluster.from_url(fake.url) as r:
            asked = [*keys(50), *keys(50, OTHER)]
            found = await asyncio.gather(*map(r.get, asked))
            assert [one.decode() for one in found] == asked

    run(main(), loop=loop)
    for node in fake.primaries:
        assert len(ways(node.received("GET"))) == 1
    assert sum(len(node.received("CLUSTER SLOTS")) for node in fake.nodes) == 1


def test_each_gets_its_own_reply_an_error_among_them(fake, loop):
    node = fake.owner(KEY)
    mean = keys(30)[7]
    node.on("GET", echo).on(f"GET {mean}", error("ERR this one"))

    async def main():
        async with warm(fake) as r:
            found = await asyncio.gather(*map(r.get, keys(30)), return_exceptions=True)
        assert str(found.pop(7)) == "this one"
        assert [one.decode() for one in found] == [key for key in keys(30) if key != mean]

    run(main(), loop=loop)
    assert len(ways(node.received("GET"))) == 1


def test_a_pipeline_shares_the_connection_and_is_one_write_itself(fake, loop):
    node = fake.owner(KEY)

    async def main():
        async with warm(fake) as r, r.pipeline() as pipe:
            for key in keys(50):
                assert pipe.get(key) is pipe
            _, results = await asyncio.gather(r.get(KEY), pipe.execute())
        assert results == [None] * 50

    run(main(), loop=loop)
    seen = [one for one in node.received("GET") if one[1].startswith(b"{")]
    assert len(seen) == 50
    assert len(ways(seen)) == 1


def test_the_redirected_share_the_connection_of_the_others(fake, loop):
    target = fake.owner(OTHER)

    async def main():
        async with warm(fake) as r:
            fake.move(KEY, target)
            return await asyncio.gather(*(r.set(key, "x") for key in keys(20)))

    assert run(main(), loop=loop) == [True] * 20
    assert len(target.received("SET")) == 20
    assert len(lines(target.received("SET"))) == 1


def test_asking_comes_with_its_command(fake, loop):
    target = fake.owner(OTHER)

    async def main():
        async with warm(fake) as r:
            fake.migrate(KEY, target)
            return await asyncio.gather(*(r.set(key, "x") for key in keys(20)), r.get(OTHER))

    assert run(main(), loop=loop) == [*[True] * 20, None]
    words = [one for one in target.commands if one.name in {"ASKING", "SET"}]
    assert [one.name for one in words] == ["ASKING", "SET"] * 20
    for asking, command in zip(words[::2], words[1::2], strict=True):
        assert ways([asking]) == ways([command])


def test_a_warm_call_is_one_round_trip(fake, loop):
    node = fake.owner(KEY)

    async def main():
        async with warm(fake) as r:
            before = len(node.commands)
            await r.get(KEY)
            await received(node, "GET")
            assert [one.name for one in node.commands[before:]] == ["GET"]

    run(main(), loop=loop)
