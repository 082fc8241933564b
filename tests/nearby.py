"""A client with a near cache, as a cache will use the two, and clusters to try it on."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from time import monotonic

from clustercache import Cluster
from clustercache.caching.near import MISSING, NearCache
from clustercache.caching.tracker import Tracker


def await_true(condition, seconds=10.0, what="it did not come true"):
    """Wait until a condition holds; return how many seconds that took."""
    began = monotonic()
    while not condition():
        assert monotonic() - began < seconds, what
        time.sleep(0.0005)
    return monotonic() - began


class Nearby:
    """A client, its near cache, and what reads for it."""

    def __init__(self, client, near, tracker):
        self.client, self.near, self.tracker = client, near, tracker

    def get(self, key):
        """What a cache does: near, else read to be kept, else ask the client."""
        value = self.near.get(key)
        return self.fetch(key) if value is MISSING else value

    def fetch(self, key):
        (reading,) = self.tracker.read([key])
        with reading:
            if reading.data is MISSING:
                return self.client.get(key)
            reading.keep(reading.data)
            return reading.data

    def set(self, key, value):
        self.near.discard([key])
        try:
            self.client.set(key, value)
        finally:
            self.near.discard([key])

    def has(self, key):
        return self.near.get(key) is not MISSING

    def warm(self, *keys):
        """Fetch until all keys are near."""

        for key in keys:
            await_true(partial(self._fetched, key), what=f"{key} is not kept")

    def _fetched(self, key):
        if not self.has(key):
            self.fetch(key)
        return self.has(key)

    def await_gone(self, key, seconds=5.0):
        return await_true(partial(self.lacks, key), seconds, f"{key} is still served")

    def lacks(self, key):
        return not self.has(key)


@contextmanager
def nearby(url, *, near=None, **options):
    """Open one."""
    near = NearCache() if near is None else near
    with Cluster.from_url(url, **options) as client:
        client.ping()
        with Tracker(client._map, near) as tracker:
            yield Nearby(client, near, tracker)


def keys_on(lc, node, count=1, prefix="near"):
    """Keys whose slots a node owns."""
    names = (f"{prefix}:{number}".encode() for number in range(100_000))
    mine = (name for name in names if lc.node_for(name).node_id == node.node_id)
    return [next(mine) for _ in range(count)]
