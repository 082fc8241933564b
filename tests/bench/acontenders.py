"""Who is measured in asyncio: a name, a function to connect it, and its packages in `ON_LOOPS`.

Each function returns an asynchronous context manager of the client's operations by name.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.bench.afloor import AsyncFloor


def _url(address):
    return f"redis://{address[0]}:{address[1]}"


def _operations(client, pipeline):
    return {"get": client.get, "set": client.set, "pipeline": pipeline}


def _piped(client):
    """Return what sends one GET for each key in a pipeline, by redis-py's API."""

    async def pipeline(keys):
        async with client.pipeline() as pipe:
            for key in keys:
                pipe.get(key)
            return await pipe.execute()

    return pipeline


@asynccontextmanager
async def _floor(address):
    floor = await AsyncFloor.connect(address)
    yield _operations(floor, floor.pipeline)
    floor.close()


@asynccontextmanager
async def _clustercache(address):
    from clustercache import AsyncCluster

    client = AsyncCluster.from_url(_url(address))
    yield _operations(client, _piped(client))
    await client.aclose()


@asynccontextmanager
async def _redis_py(address):
    from redis.asyncio.cluster import RedisCluster

    async with RedisCluster.from_url(_url(address)) as client:
        yield _operations(client, _piped(client))


@asynccontextmanager
async def _valkey_py(address):
    from valkey.asyncio.cluster import ValkeyCluster

    async with ValkeyCluster.from_url(_url(address)) as client:
        yield _operations(client, _piped(client))


@asynccontextmanager
async def _coredis(address):
    from coredis import RedisCluster

    client = RedisCluster(*address)

    async def pipeline(keys):
        async with client.pipeline() as pipe:
            for key in keys:
                pipe.get(key)
        return list(pipe.results)

    async with client:
        yield _operations(client, pipeline)


@asynccontextmanager
async def _valkey_glide(address):
    from glide import (
        ClusterBatch,
        GlideClusterClient,
        GlideClusterClientConfiguration,
        NodeAddress,
    )

    # As in threads: its default of 250 ms is short of what a busy machine may need.
    config = GlideClusterClientConfiguration([NodeAddress(*address)], request_timeout=5000)
    client = await GlideClusterClient.create(config)

    def pipeline(keys):
        batch = ClusterBatch(is_atomic=False)
        for key in keys:
            batch.get(key)
        return client.exec(batch, raise_on_error=True)

    yield _operations(client, pipeline)
    await client.close()


ON_LOOPS = [
    ("floor", _floor, ("hiredis",)),
    ("clustercache", _clustercache, ("clustercache", "hiredis", "redis")),
    ("redis-py", _redis_py, ("redis", "hiredis")),
    ("valkey-py", _valkey_py, ("valkey", "libvalkey")),
    ("coredis", _coredis, ("coredis",)),
    ("valkey-glide", _valkey_glide, ("valkey-glide",)),
]
