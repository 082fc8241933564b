"""A lost connection of the asyncio client: what was queued and what was written."""

from __future__ import annotations

import asyncio

import pytest

from clustercache.exceptions import OutcomeUnknownError, ReplyDecodeError, ReplyTooLargeError
from clustercache.testing import (
    FakeCluster,
    close_before_reply,
    delay,
    partial,
    raw,
    reset,
    simple,
)
from tests.loops import LOOPS, run
from tests.shells.ticks import KEY, Clock, echo, keys, lines, received, warm, ways

pytestmark = pytest.mark.parametrize("loop", LOOPS)

FIRST, SECOND = keys(2)


@pytest.fixture
def fake():
    with FakeCluster(primaries=2) as cluster:
        yield cluster


@pytest.fixture
def node(fake):
    return fake.owner(KEY)


def unknown(error):
    return isinstance(error, OutcomeUnknownError) and error.applied == "maybe"


def text(word):
    return word.decode()


# Queued or written ----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [close_before_reply(), reset()], ids=["EOF", "reset"])
def test_what_was_queued_is_sent_again_and_what_was_written_is_not(fake, node, loop, loss):
    node.on(f"INCR {FIRST}", loss)

    async def main():
        async with warm(fake, max_in_flight=1) as r:
            return await asyncio.gather(
                *(r.execute_command("INCR", key) for key in (FIRST, SECOND, SECOND)),
                return_exceptions=True,
            )

    first, *others = run(main(), loop=loop)
    assert unknown(first)
    assert others == [1, 2]
    assert [text(one[1]) for one in node.received("INCR")] == [FIRST, SECOND, SECOND]


def test_of_what_was_written_only_that_is_sent_again_which_may_be(fake, node, loop):
    node.on("GET", [close_before_reply(), b"x"])

    async def main():
        async with warm(fake) as r:
            return await asyncio.gather(
                r.get(KEY),
                r.set(KEY, "1"),
                r.sadd("{bar}s", "m"),
                r.execute_command("INCR", "{bar}n"),
                r.execute_command("SET", KEY, "2", "NX"),
                return_exceptions=True,
            )

    *repeated, incr, decides = run(main(), loop=loop)
    assert repeated == [b"x", True, 1]
    assert unknown(incr)
    assert unknown(decides)
    assert len(ways(node.received("INCR"))) == 1
    counts = {name: len(node.received(name)) for name in ("GET", "SADD", "INCR")}
    assert counts == {"GET": 2, "SADD": 2, "INCR": 1}
    assert len(node.received(f"SET {KEY} 1")) == 2
    assert len(node.received(f"SET {KEY} 2")) == 1


def test_replies_that_came_before_the_loss_are_kept(fake, node, loop):
    node.on("INCR", [5, 6, close_before_reply()])

    async def main():
        async with warm(fake) as r:
            calls = [r.execute_command("INCR", KEY) for _ in range(4)]
            return await asyncio.gather(*calls, return_exceptions=True)

    *kept, third, fourth = run(main(), loop=loop)
    assert kept == [5, 6]
    assert unknown(third)
    assert unknown(fourth)
    assert len(node.received("INCR")) == 4


def test_a_cancelled_call_is_not_sent_again_when_its_connection_is_lost(fake, node, loop):
    node.on(f"GET {FIRST}", delay(0.1, close_before_reply()))
    node.on(f"GET {SECOND}", echo)

    async def main():
        async with warm(fake) as r:
            task = asyncio.create_task(r.get(FIRST))
            await received(node, f"GET {FIRST}")
            second = asyncio.create_task(r.get(SECOND))
            task.cancel()
            assert await second == SECOND.encode()

    run(main(), loop=loop)
    assert len(node.received(f"GET {FIRST}")) == 1


def test_those_who_lost_a_connection_share_the_next_one(fake, node, loop):
    node.on("GET", [close_before_reply(), *[echo] * 100])

    async def main():
        async with warm(fake) as r:
            found = await asyncio.gather(*map(r.get, keys(50)))
            assert [one.decode() for one in found] == keys(50)

    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 2
    assert len(node.received("GET")) == 100


# An end that comes with bytes -----------------------------------------------------------------


async def came_together(node, call):
    """Make a call, and let the loop see nothing until reply and end have both come."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    node.wait_for(lambda: node.received("GET") and not node.connections)
    return await task


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("data", [b"$5\r\nwh", b"$5\r\nwhole\r\n"], ids=["half", "whole"])
def test_an_end_that_comes_with_bytes_is_seen_at_once(fake, node, loop, data, then):
    """uvloop tells of an error once, be there bytes before it or not."""
    node.on("GET", [partial(data, then=then), b"whole", b"again"])

    async def main():
        async with warm(fake) as r:
            with Clock() as clock:
                assert await came_together(node, r.get(KEY)) == b"whole"
                assert await r.get(KEY) in {b"whole", b"again"}
                assert await r.execute_command("INCR", "{bar}n") == 1
            assert clock.took < 0.5

    run(main(), loop=loop)


# An end that was there already ----------------------------------------------------------------


@pytest.mark.parametrize("hard", [False, True], ids=["EOF", "reset"])
def test_an_end_that_was_there_before_the_write_means_not_sent(fake, node, loop, hard):
    async def main():
        async with warm(fake) as r:
            for number in range(1, 21):
                node.drop_connections(reset=hard)  # and the loop has not looked at it since
                assert await r.execute_command("INCR", KEY) == number

    run(main(), loop=loop)
    assert len(node.received("INCR")) == 20


def test_an_end_that_was_there_before_the_write_harms_none_of_a_tick(fake, node, loop):
    async def main():
        async with warm(fake) as r:
            node.drop_connections()
            return await asyncio.gather(*(r.execute_command("INCR", KEY) for _ in range(30)))

    assert run(main(), loop=loop) == list(range(1, 31))
    assert len(node.received("INCR")) == 30


def test_an_end_that_was_there_before_the_write_harms_no_pipeline(fake, node, loop):
    async def main():
        async with warm(fake) as r:
            node.drop_connections()
            pipe = r.pipeline()
            for _ in range(10):
                pipe.execute_command("INCR", KEY)
            return await pipe.execute()

    assert run(main(), loop=loop) == list(range(1, 11))


# Replies that break the rules -----------------------------------------------------------------


def test_a_reply_that_is_not_text_is_the_error_of_its_call_alone(fake, node, loop):
    node.on("GET", echo).on(f"GET {SECOND}", b"\xff\xfe")

    async def main():
        async with warm(fake, decode_responses=True) as r:
            found = await asyncio.gather(*map(r.get, keys(20)), return_exceptions=True)
        assert isinstance(found.pop(1), ReplyDecodeError)
        assert found == [key for key in keys(20) if key != SECOND]

    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 1


def test_each_call_is_decoded_as_it_asked(fake, node, loop):
    """DUMP is bytes, whatever the client decodes; so both share a connection."""
    node.on("GET", "text").on("DUMP", b"\x00\xff")

    async def main():
        async with warm(fake, decode_responses=True) as r:
            return await asyncio.gather(r.get(FIRST), r.dump(FIRST), r.get(SECOND), r.dump(SECOND))

    assert run(main(), loop=loop) == ["text", b"\x00\xff"] * 2


def test_a_reply_that_is_too_large_ends_its_call_and_the_others_go_on(fake, node, loop):
    node.on("GET", echo).on(f"GET {SECOND}", raw(b"$300000\r\n" + b"x" * 200_000))

    async def main():
        async with warm(fake, max_reply_bytes=65536) as r:
            found = await asyncio.gather(*map(r.get, keys(20)), return_exceptions=True)
        assert isinstance(found.pop(1), ReplyTooLargeError)
        assert [text(one) for one in found] == [key for key in keys(20) if key != SECOND]

    run(main(), loop=loop)
    assert len(node.received(f"GET {SECOND}")) == 1


def test_bytes_that_nobody_asked_for_end_the_connection(fake, node, loop):
    node.on("GET", [raw(b"$1\r\nx\r\n+and more\r\n"), b"right"])

    async def main():
        async with warm(fake) as r:
            assert await r.get(FIRST) == b"x"
            assert await r.get(SECOND) == b"right"
            assert await r.set(FIRST, "y") is True

    node.on("SET", simple("OK"))
    run(main(), loop=loop)
    assert len(lines(node.received("GET"))) == 2
