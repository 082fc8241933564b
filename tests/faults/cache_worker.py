"""A process with many callers of one cached function, for a judge outside.

    python -m tests.faults.cache_worker URL NAMESPACE KIND NEAR CALLERS LEASE WORK

prints ``ready``; at the first line that it reads all callers call at once. It prints ``computing``
when the function begins (which counts at the server, and takes WORK seconds), and at the end what
the callers got: ``result VALUE SECONDS`` for each.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from time import monotonic

from clustercache import AsyncCache, Cache, NearCache

MINE = str(os.getpid())


def say(*words):
    os.write(1, " ".join(map(str, (*words, "\n"))).encode())  # in one piece, from any thread


def main(*words):
    """Call from threads or from tasks."""
    url, namespace, kind, near, callers, lease, work = words
    options = {
        "namespace": namespace,
        "near": NearCache() if near == "near" else None,
        "lease": float(lease),
        "wait": 30.0,
    }
    act = in_threads if kind == "threads" else in_tasks
    act(url, options, int(callers), float(work))


def in_threads(url, options, callers, work):
    with Cache.from_url(url, **options) as cache:

        @cache.cached(name="slow")
        def slow(pk):
            cache.client.incr(f"{options['namespace']}-computes")
            say("computing")
            time.sleep(work)
            return [pk, MINE]

        def call():
            together.wait()
            began = monotonic()
            value = slow(1)
            say("result", value[1], monotonic() - began)

        cache.get("anything")
        together = threading.Barrier(callers)
        threads = [threading.Thread(target=call) for _ in range(callers)]
        say("ready")
        sys.stdin.readline()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def in_tasks(url, options, callers, work):
    async def all_of_it():
        async with AsyncCache.from_url(url, **options) as cache:

            @cache.cached(name="slow")
            async def slow(pk):
                await cache.client.incr(f"{options['namespace']}-computes")
                say("computing")
                await asyncio.sleep(work)
                return [pk, MINE]

            async def call():
                began = monotonic()
                value = await slow(1)
                say("result", value[1], monotonic() - began)

            await cache.get("anything")
            say("ready")
            sys.stdin.readline()
            await asyncio.gather(*(call() for _ in range(callers)))

    asyncio.run(all_of_it())


if __name__ == "__main__":
    main(*sys.argv[1:])
