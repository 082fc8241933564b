"""A connection whose node reads slowly, or hung up behind much that nobody has read yet."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, closing

import pytest

from clustercache._async.connection import Connection
from clustercache._core import wire
from clustercache._core.address import Address
from clustercache._core.decisions import Trouble
from clustercache.config import ClusterConfig
from tests.loops import LOOPS, run

pytestmark = pytest.mark.parametrize("loop", LOOPS)

_SMALL = 16384
_LINGER = struct.pack("ii", 1, 0)


class Counted(socket.socket):
    """A socket that knows how many bytes it was given at a time."""

    given = ()

    def send(self, data):
        self.given += (len(data),)
        return super().send(data)


class Peer:
    """The node's end of a connection."""

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.read = 0

    async def take(self, size):
        """Read so many bytes, and a few more."""
        limit = self.read + size
        while self.read < limit:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                await asyncio.sleep(0.001)
                continue
            assert data
            self.read += len(data)

    def hang_up(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.sock.close()


@asynccontextmanager
async def pair(*, buffers=_SMALL, **options):
    config = ClusterConfig(seeds=(Address("127.0.0.1", 1),), **options)
    with closing(socket.socket()) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        server.bind(("127.0.0.1", 0))
        server.listen()
        mine = Counted()
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        mine.connect(server.getsockname())
        peer, _ = server.accept()
    mine.setblocking(False)
    connection = Connection(config.seeds[0], config, mine, asyncio.get_running_loop())
    with closing(peer):
        yield connection, Peer(peer)
    connection.close()


def sets(connection, count, size):
    command = wire.pack(("SET", "k", bytes(size)))
    return [connection.send(command) for _ in range(count)], len(command)


def troubles(places):
    return [place.result().event.trouble for place in places]


def test_what_is_queued_ends_in_time_though_the_node_reads_on_and_is_not_written(loop):
    async def main():
        async with pair(deadline=0.3, socket_timeout=0.2) as (connection, peer):
            places, each = sets(connection, 40, 20_000)
            answered = 0
            while not places[-1].done():
                await asyncio.sleep(0.02)
                await peer.take(5_000)  # it is slow, and well
                while answered < peer.read // each:
                    peer.sock.send(b"+OK\r\n")
                    answered += 1
            begun = places[: connection.asked]
            assert 0 < len(begun) < 40
            assert set(troubles(places[len(begun) :])) == {Trouble.EXPIRED}
            await peer.take(len(begun) * each - peer.read)
            place = connection.send(wire.pack(("PING",)))
            await peer.take(14)
            assert peer.read == len(begun) * each + 14
            place.cancel()

    run(main(), loop=loop)


def test_a_long_queue_is_put_together_in_parts_where_the_node_takes_it_in_parts(loop):
    async def main():
        async with pair() as (connection, peer):
            places, each = sets(connection, 400, 50_000)
            await peer.take(400 * each)
            assert connection.asked == 400
            assert peer.read == 400 * each
            peer.sock.send(b"+OK\r\n" * 400)
            assert await asyncio.gather(*places) == [b"OK"] * 400
            joined, *others = connection._sock.given
            assert joined == 400 * each
            assert max(others) < 1 << 21

    run(main(), loop=loop)


def test_an_end_behind_many_bytes_is_seen_by_what_is_queued(loop):
    """uvloop tells of a reset once, and what is read first may be nobody's reply."""
    pushed = b">2\r\n$4\r\nnews\r\n$1000\r\n" + bytes(1000) + b"\r\n"

    async def main():
        for looks in range(4):
            async with pair(buffers=1 << 20) as (connection, peer):
                peer.sock.send(pushed * 180)
                peer.hang_up()
                for _ in range(looks):
                    await asyncio.sleep(0)
                place = connection.send(wire.pack(("GET", "k")))
                failed = await asyncio.wait_for(place, 2.0)
                assert failed.event.trouble is Trouble.BROKEN_OFF

    run(main(), loop=loop)
