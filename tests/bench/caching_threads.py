"""The caches of synchronous programs, each connected, filled and ready to be asked."""

from __future__ import annotations

import threading

from tests.bench.floor import Floor
from tests.bench.products import NUMBERS, PRODUCTS, SMALL, TEXTS, TTL, maker


class Asked:
    """A cache's operations by name.

    Attributes:
        cache: What they are of.
    """

    def __init__(self, cache, *, close=None, **operations):
        self.cache = cache
        self._close = close
        self._operations = operations

    def operation(self, name, thread):
        """Return the function that does an operation; there is one thread."""
        return self._operations[name]

    def close(self):
        if self._close:
            self._close()


def _url(address):
    return f"redis://{address[0]}:{address[1]}"


def _warmed(call):
    """Return a function that was called once for each number."""
    for number in NUMBERS:
        call(number)
    return call


# Near: a function of a number, decorated ----------------------------------------------------------


def plain(_):
    import cachetools

    kept = cachetools.LRUCache(2 * len(NUMBERS))
    return Asked(None, near=_warmed(cachetools.cached(kept, lock=threading.Lock())(maker())))


def near(address):
    from clustercache import Cache, NearCache

    cache = Cache.from_url(
        _url(address), namespace="near", near=NearCache(2 * len(NUMBERS), max_staleness=TTL)
    )
    text = _warmed(cache.cached(ttl=TTL, name="text")(maker()))
    return Asked(cache, close=cache.close, near=_warmed(text))


def redis_py_near(address):
    from redis import Redis
    from redis.cache import CacheConfig
    from redis.exceptions import ConnectionError as RefusedError

    client = Redis(host=address[0], port=address[1], protocol=3, cache_config=CacheConfig())
    make = maker()
    try:
        for number in NUMBERS:
            client.set(number, make(number))
    except RefusedError as error:
        raise ImportError(str(error)) from None
    return Asked(client, close=client.close, near=_warmed(client.get))


# Far: what is stored under a key ------------------------------------------------------------------


def floor(address):
    links = Floor(address)
    for key, text in TEXTS.items():
        links.set(key, text)
    return Asked(links, close=links.close, far=links.get, many=links.mget)


def client(address):
    from clustercache import Cluster

    cluster = Cluster.from_url(_url(address))
    cluster.mset(TEXTS)
    return Asked(cluster, close=cluster.close, far=cluster.get, many=cluster.mget)


def far(address):
    return _cache(address, "far")


def miss(address):
    from clustercache import NearCache

    return _cache(address, "miss", near=NearCache(SMALL, max_staleness=TTL))


def _cache(address, namespace, **options):
    from clustercache import Cache

    cache = Cache.from_url(_url(address), namespace=namespace, **options)
    cache.set_many(PRODUCTS, TTL)
    return Asked(cache, close=cache.close, far=cache.get, many=cache.get_many)


def dogpile(address):
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis", TTL, {"host": address[0], "port": address[1]}
    )
    region.set_multi(PRODUCTS)
    return Asked(region, far=region.get, many=region.get_multi)


def django_rediscache(address):
    return _django("django.core.cache.backends.redis.RedisCache", address)


def django_redis(address):
    return _django("django_redis.cache.RedisCache", address)


def _django(backend, address):
    from django.conf import settings

    where = {"BACKEND": backend, "LOCATION": _url(address), "KEY_PREFIX": backend}
    settings.configure(CACHES={"default": where})
    from django.core.cache import cache

    cache.set_many(PRODUCTS, TTL)
    return Asked(cache, close=cache.close, far=cache.get, many=cache.get_many)
