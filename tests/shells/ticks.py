"""What the tests of the asyncio client share: a warm client, and what the servers saw of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

from clustercache import AsyncCluster
from tests.loops import until

KEY, OTHER = "bar", "foo"
"""Keys of two nodes, in a fake cluster of two primaries."""


def keys(count, tag=KEY):
    """Keys that all live where `tag` does."""
    return [f"{{{tag}}}{number}" for number in range(count)]


def echo(command, connection):
    """Answer with the key: whose reply it is can be told then."""
    return command[1]


@asynccontextmanager
async def warm(fake, **options):
    """A client that knows the map and has its connections."""
    options = {"deadline": 5.0, "socket_timeout": 1.0} | options
    async with AsyncCluster.from_url(fake.url, **options) as r:
        await asyncio.gather(r.exists(KEY), r.exists(OTHER))
        yield r


def ways(commands):
    """The (connection, recv) pairs in which commands came in."""
    return {(one.connection_id, one.chunk) for one in commands}


def lines(commands):
    """The connections on which commands came in."""
    return {one.connection_id for one in commands}


async def received(node, pattern, count=1):
    """Wait until a node has so many commands."""
    await until(lambda: len(node.received(pattern)) >= count)


async def closed(*nodes, but=0):
    """Wait until a node has no more connections than these."""
    await until(lambda: all(len(node.connections) <= but for node in nodes))


class Clock:
    """Seconds that a block took."""

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.took = time.monotonic() - self.began
