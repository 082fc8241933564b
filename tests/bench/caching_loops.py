"""The caches of asyncio programs, each connected, filled and ready to be asked.

Each function returns an asynchronous context manager of the cache's operations by name.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

from tests.bench.afloor import AsyncFloor
from tests.bench.products import NUMBERS, PRODUCTS, SMALL, TEXTS, TTL, maker


def _url(address):
    return f"redis://{address[0]}:{address[1]}"


def _coroutine():
    """Return the function that is cached, as a coroutine function."""
    make = maker()

    async def text(number):
        return make(number)

    return text


async def _warmed(call):
    for number in NUMBERS:
        await call(number)
    return {"near": call}


# Near: a function of a number, decorated ----------------------------------------------------------


@asynccontextmanager
async def plain(_):
    import cachetools

    kept, make = cachetools.LRUCache(2 * len(NUMBERS)), maker()

    async def text(number):  # it has no decorator for coroutine functions
        try:
            return kept[number]
        except KeyError:
            value = kept[number] = make(number)
            return value

    yield await _warmed(text)


@asynccontextmanager
async def near(address):
    from clustercache import AsyncCache, NearCache

    kept = NearCache(2 * len(NUMBERS), max_staleness=TTL)
    async with AsyncCache.from_url(_url(address), namespace="anear", near=kept) as cache:
        text = cache.cached(ttl=TTL, name="text")(_coroutine())
        await _warmed(text)
        yield await _warmed(text)


@asynccontextmanager
async def aiocache_memory(_):
    from aiocache import cached

    yield await _warmed(cached(ttl=TTL)(_coroutine()))


@asynccontextmanager
async def cashews_memory(_):
    async with _cashews("mem://?size=2000") as cache:
        yield await _warmed(cache(ttl=TTL)(_coroutine()))


@asynccontextmanager
async def cashews_near(address):
    async with _cashews(f"{_url(address)}?client_side=True") as cache:
        text = cache(ttl=TTL)(_coroutine())
        await _warmed(text)
        yield await _warmed(text)


@asynccontextmanager
async def _cashews(url):
    from cashews import Cache

    cache = Cache()
    cache.setup(url)
    yield cache
    await cache.close()


# Far: what is stored under a key ------------------------------------------------------------------


@asynccontextmanager
async def floor(address):
    links = await AsyncFloor.connect(address)
    for key, text in TEXTS.items():
        await links.set(key, text)
    yield {"far": links.get, "many": links.pipeline}
    links.close()


@asynccontextmanager
async def client(address):
    from clustercache import AsyncCluster

    cluster = AsyncCluster.from_url(_url(address))
    await cluster.mset(TEXTS)
    yield {"far": cluster.get, "many": cluster.mget}
    await cluster.aclose()


@asynccontextmanager
async def far(address):
    async with _cache(address, "afar") as operations:
        yield operations


@asynccontextmanager
async def miss(address):
    from clustercache import NearCache

    kept = NearCache(SMALL, max_staleness=TTL)
    async with _cache(address, "amiss", near=kept) as operations:
        yield operations


@asynccontextmanager
async def _cache(address, namespace, **options):
    from clustercache import AsyncCache

    async with AsyncCache.from_url(_url(address), namespace=namespace, **options) as cache:
        await cache.set_many(PRODUCTS, TTL)
        yield {"far": cache.get, "many": cache.get_many}


@asynccontextmanager
async def aiocache(address):
    from aiocache import Cache

    cache = Cache(Cache.REDIS, endpoint=address[0], port=address[1], namespace="aiocache:")
    await cache.multi_set(PRODUCTS.items(), ttl=TTL)
    yield {"far": cache.get, "many": cache.multi_get}
    await cache.close()


@asynccontextmanager
async def cashews(address):
    async with _cashews(_url(address)) as cache:
        await cache.set_many(PRODUCTS, expire=TTL)

        async def many(keys):
            return await cache.get_many(*keys)

        yield {"far": cache.get, "many": many}
