"""Whose caches are measured: a name, how it is connected, its packages and server in `ON_CACHES`.

Most peers cannot use a cluster: they get one server of the same kind that is in none.
"""

from __future__ import annotations

from functools import partial

from tests.bench import caching_loops as loops
from tests.bench import caching_threads as threads
from tests.bench.loops import LoopSession
from tests.bench.sites import CLUSTER, STANDALONE

NEAR, FAR, ANEAR, AFAR = CACHES = ("near", "far", "anear", "afar")
PLAIN = "cachetools"
OURS = ("clustercache", "clustercache-miss", "clustercache-standalone")

_CLUSTERCACHE = ("clustercache", "hiredis", "cachetools")
_REDIS = ("redis", "hiredis")


def _on_loop(connect):
    return partial(LoopSession, "asyncio", connect)


ON_CACHES = {
    NEAR: [
        (PLAIN, threads.plain, ("cachetools",), None),
        (OURS[0], threads.near, _CLUSTERCACHE, CLUSTER),
        ("redis-py-near", threads.redis_py_near, _REDIS, STANDALONE),
    ],
    FAR: [
        ("floor", threads.floor, ("hiredis",), CLUSTER),
        (OURS[0], threads.far, _CLUSTERCACHE, CLUSTER),
        (OURS[1], threads.miss, _CLUSTERCACHE, CLUSTER),
        (OURS[2], threads.far, _CLUSTERCACHE, STANDALONE),
        ("clustercache-client", threads.client, _CLUSTERCACHE, CLUSTER),
        ("dogpile.cache", threads.dogpile, ("dogpile.cache", *_REDIS), STANDALONE),
        ("django-rediscache", threads.django_rediscache, ("Django", *_REDIS), STANDALONE),
        ("django-redis", threads.django_redis, ("django-redis", *_REDIS), STANDALONE),
    ],
    ANEAR: [
        (PLAIN, _on_loop(loops.plain), ("cachetools",), None),
        (OURS[0], _on_loop(loops.near), _CLUSTERCACHE, CLUSTER),
        ("aiocache-memory", _on_loop(loops.aiocache_memory), ("aiocache",), None),
        ("cashews-memory", _on_loop(loops.cashews_memory), ("cashews",), None),
        ("cashews-near", _on_loop(loops.cashews_near), ("cashews", *_REDIS), STANDALONE),
    ],
    AFAR: [
        ("floor", _on_loop(loops.floor), ("hiredis",), CLUSTER),
        (OURS[0], _on_loop(loops.far), _CLUSTERCACHE, CLUSTER),
        (OURS[1], _on_loop(loops.miss), _CLUSTERCACHE, CLUSTER),
        (OURS[2], _on_loop(loops.far), _CLUSTERCACHE, STANDALONE),
        ("clustercache-client", _on_loop(loops.client), _CLUSTERCACHE, CLUSTER),
        ("aiocache", _on_loop(loops.aiocache), ("aiocache", *_REDIS), STANDALONE),
        ("cashews", _on_loop(loops.cashews), ("cashews", *_REDIS), STANDALONE),
    ],
}
