"""A process that reads through a near cache and tells what it saw, for a judge outside.

    python -m tests.faults.near_reader URL NUMBER threads|asyncio COUNT RULE OWN KEY ...

It says ``ready`` once all keys are near, reads until it hears ``stop`` and has read COUNT times,
and says what it saw, in monotonic seconds, of which all processes of a machine have the same:

    read BEGAN ENDED KEY VALUE NEAR     NEAR is 1 for a hit
    wrote ASKED RETURNED VALUE SURE     OWN is written by this process alone; SURE is 1 if confirmed

and ``done``. When it hears ``settle`` it says what it holds, makes all keys near and says that:

    held KEY VALUE      near KEY VALUE

RULE is what is taken out of the near cache's rules, or ``-``.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from time import monotonic

import redis

from clustercache import AsyncCluster, Cluster
from clustercache.caching.near import MISSING, NearCache
from clustercache.caching.tracker import Tracker
from tests.near_rules import without

PATIENCE = 0.1
"""Seconds that a read may take; what takes longer is read again."""
UNSURE = 1.0
"""Seconds that a write may take."""
RESTING, REST = 0.1, 0.001
"""How often it rests behind a read, and for how many seconds."""
WRITE = """
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
"""
"""Beside each value a log of all: what a failover lost is not in it."""


def log_of(key):
    return b"{%b}:log" % key


class Reader:
    """What is common to both kinds: steps that a shell takes."""

    def __init__(self, near, number, count, own, keys):
        self.near, self.count, self.own, self.keys = near, count, own, keys
        self.draw = random.Random(number)
        self.lines = []
        self._written = 0

    def steps(self, stopped):
        """Read at random, and now and then write what is one's own."""
        done = 0
        while done < self.count or not stopped():
            if self.draw.random() < 0.005:
                yield from self._write()
            key = self.draw.choice(self.keys)
            began = monotonic()
            value = self.near.get(key)
            near = value is not MISSING
            if not near:
                value = yield "fetch", key, self._thinking()
            if value is not MISSING:
                text = "-" if value is None else value.decode()
                ended = monotonic()
                self.lines.append(f"read {began} {ended} {key.decode()} {text} {int(near)}")
                done += 1
            if self.draw.random() < RESTING:
                yield "rest", REST

    def _thinking(self):
        """How long it takes to decode what was read: mostly no time, now and then a while."""
        return self.draw.random() * 0.005 if self.draw.random() < 0.3 else 0.0

    def _write(self):
        self._written += 1
        asked = monotonic()
        sure = yield "write", self.own, self._written
        self.lines.append(f"wrote {asked} {monotonic()} {self._written} {int(sure)}")

    def warming(self):
        """Make all keys near."""
        for key in self.keys:
            while self.near.get(key) is MISSING:
                yield "fetch", key, 0.0
                yield "rest", 0.001

    def held(self, word):
        for key in self.keys:
            value = self.near.get(key)
            if value is not MISSING:
                print(word, key.decode(), "-" if value is None else value.decode())  # noqa: T201


class Threads:
    """Takes steps as a synchronous program does."""

    def __init__(self, url, near):
        self.near, self.client = near, Cluster.from_url(url)
        self.client.ping()
        self.tracker = Tracker(self.client._map, near)
        self.script = self.client.register_script(WRITE, repeatable=True)
        self.rest = time.sleep

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
                return reading.data
        try:
            with self.client.deadline(PATIENCE):
                return self.client.get(key)
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


class Tasks:
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
                return reading.data
        try:
            with self.client.deadline(PATIENCE):
                return await self.client.get(key)
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


def hear(stopped, settled):
    for line in sys.stdin:
        {"stop": stopped, "settle": settled}[line.strip()].set()


def main(url, number, how, count, rule, *names):
    """Read, tell, settle and tell."""
    stopped, settled = threading.Event(), threading.Event()
    threading.Thread(target=hear, args=(stopped, settled), daemon=True).start()
    own, *keys = [name.encode() for name in names]
    with without(*({rule} - {"-"})):
        near = NearCache()
        reader = Reader(near, int(number), int(count), own, keys)
        shell = {"threads": Threads, "asyncio": Tasks}[how](url, near)
        shell.take(reader.warming())
        print("ready", flush=True)  # noqa: T201 - the judge reads this
        shell.take(reader.steps(stopped.is_set))
        print(*reader.lines, "done", sep="\n", flush=True)  # noqa: T201
        settled.wait()
        reader.held("held")
        shell.take(reader.warming())
        reader.held("near")
        sys.stdout.flush()
        shell.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
