"""How a near_reader reads and writes: synchronously or in asyncio, plainly or by a cache.

The plain ones do what a cache does, with less around it. What is read is a number, None where there
is none, and MISSING where nobody knows.
"""

from __future__ import annotations

import asyncio
import time
from time import monotonic

import redis

from clustercache import AsyncCache, AsyncCluster, Cache, Cluster
from clustercache.caching.near import MISSING
from clustercache.caching.tracker import Tracker

PATIENCE = 0.1
"""Seconds that a read may take; what takes longer is read again."""
UNSURE = 1.0
"""Seconds that a write may take."""
NAMESPACE = "drill"
WRITE = """
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
"""
"""Beside each value a log of all: what a failover lost is not in it."""


def log_of(key):
    return b"{%b}:log" % key


def number_in(data):
    return data if data is None or data is MISSING else int(data)


def name_of(key):
    """A cache's name for a server's key."""
    return key.decode().removeprefix(NAMESPACE + ":")


class Threads:
    """Takes steps as a synchronous program does."""

    def __init__(self, url, near):
        self.near, self.client = near, Cluster.from_url(url)
        self.client.ping()
        self.tracker = Tracker(self.client._map, near)
        self.script = self.client.register_script(WRITE, repeatable=True)
        self.rest = time.sleep

    def look(self, key):
        """Return what is near."""
        return number_in(self.near.get(key))

    def take(self, steps):
        answer = None
        while True:
            try:
                what, *words = steps.send(answer)
            except StopIteration:
                return
            answer = getattr(self, what)(*words)

    def fetch(self, key, thinking):
        (reading,) = self.tracker.read([key], monotonic() + PATIENCE)
        with reading:
            if reading.data is not MISSING:
                time.sleep(thinking)
                reading.keep(reading.data)
                return number_in(reading.data)
        try:
            with self.client.deadline(PATIENCE):
                return number_in(self.client.get(key))
        except redis.RedisError:
            return MISSING

    def write(self, key, number):
        self.near.discard([key])
        try:
            with self.client.deadline(UNSURE):
                self.script([key, log_of(key)], [number])
        except redis.RedisError:
            return False
        else:
            return True
        finally:
            self.near.discard([key])

    def close(self):
        self.tracker.close()
        self.client.close()


class Tasks(Threads):
    """Takes steps as an asyncio program does."""

    def __init__(self, url, near):
        self.near, self.runner = near, asyncio.Runner()
        self.client = AsyncCluster.from_url(url)
        self.runner.run(self.client.ping())
        self.tracker = Tracker(self.client._knowledge, near)
        self.script = self.client.register_script(WRITE, repeatable=True)
        self.rest = asyncio.sleep

    def take(self, steps):
        self.runner.run(self._take(steps))

    async def _take(self, steps):
        answer = None
        while True:
            try:
                what, *words = steps.send(answer)
            except StopIteration:
                return
            answer = await getattr(self, what)(*words)

    async def fetch(self, key, thinking):
        (reading,) = await self.tracker.aread([key], monotonic() + PATIENCE)
        with reading:
            if reading.data is not MISSING:
                if thinking:
                    await asyncio.sleep(thinking)
                reading.keep(reading.data)
                return number_in(reading.data)
        try:
            with self.client.deadline(PATIENCE):
                return number_in(await self.client.get(key))
        except redis.RedisError:
            return MISSING

    async def write(self, key, number):
        self.near.discard([key])
        try:
            with self.client.deadline(UNSURE):
                await self.script([key, log_of(key)], [number])
        except redis.RedisError:
            return False
        else:
            return True
        finally:
            self.near.discard([key])

    def close(self):
        self.tracker.close()
        self.runner.run(self.client.aclose())
        self.runner.close()


class CacheThreads(Threads):
    """Uses a cache in a synchronous program."""

    def __init__(self, url, near):
        self.cache = Cache.from_url(url, namespace=NAMESPACE, near=near, deadline=PATIENCE)
        self.rest = time.sleep

    def look(self, key):
        return self.cache._near_get(self.cache._wanted(name_of(key)), fresh=False)

    def fetch(self, key, _):
        return self.cache.get(name_of(key), MISSING)

    def write(self, key, number):
        return self.cache.set(name_of(key), number)

    def close(self):
        self.cache.close()


class CacheTasks(Tasks):
    """Uses a cache in asyncio."""

    def __init__(self, url, near):
        self.runner = asyncio.Runner()
        self.cache = AsyncCache.from_url(url, namespace=NAMESPACE, near=near, deadline=PATIENCE)
        self.rest = asyncio.sleep

    look = CacheThreads.look

    async def fetch(self, key, _):
        return await self.cache.get(name_of(key), MISSING)

    async def write(self, key, number):
        return await self.cache.set(name_of(key), number)

    def close(self):
        self.runner.run(self.cache.aclose())
        self.runner.close()


SHELLS = {
    "threads": Threads,
    "asyncio": Tasks,
    "cache": CacheThreads,
    "cache in asyncio": CacheTasks,
}
