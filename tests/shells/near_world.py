"""A fake cluster that tracks what is read, a near cache of it, and a note of all that happened.

It pushes when it is told to, so that a story can be about the moment between a write and its push,
or about a push that never comes.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from time import monotonic
from unittest.mock import patch

from clustercache.caching.attendant import Attendant
from clustercache.caching.near import MISSING, NearCache
from clustercache.testing import FakeCluster, error, push, silence, simple
from tests.histories import History, Seen
from tests.nearby import await_true, nearby

SLACK = 0.25
"""Seconds that a busy machine may take between a push and its being heard."""


class World:
    """What a story happens in. Values are numbers that are counted up."""

    def __init__(self, cluster, here, bound, gate):
        self.cluster, self.here, self.bound, self.gate = cluster, here, bound, gate
        self.near, self.tracker = here.near, here.tracker
        self.history, self.seen = History(), []
        self._tracking, self._tracked = set(), {}
        self._last = 0
        self.a, self.b = cluster.primaries
        for node in cluster.primaries:
            node.on("CLIENT", self._client)
            node.on("GET", partial(self._get, node))

    # The servers ------------------------------------------------------------------------------

    def _client(self, command, connection):
        """CLIENT TRACKING and CACHING, which the fake server does not know."""
        if command[1].upper() == b"TRACKING":
            self._tracking.add(connection)
        known = command[1].upper() in {b"TRACKING", b"CACHING"}
        return simple("OK") if known else error("ERR no")

    def _get(self, node, command, connection):
        if connection in self._tracking:
            self._tracked.setdefault(command[1], set()).add(connection)
        return node._default(command, connection)

    def put(self, key, *, told=True):
        """Write a key's next value where the key is."""
        self._last += 1
        asked = monotonic()
        with self.cluster.lock:
            self._store(key).data[key] = b"%d" % self._last
        self.history.add(key, self._last, asked, monotonic())
        if told:
            self.push(key)

    def _store(self, key):
        owner = self.cluster.shard_of(key)
        stores = [owner.store, *(shard.store for shard in owner.migrating.values())]
        return next((store for store in stores if store.has(key)), owner.store)

    def remove(self, key):
        """A key goes, and nobody is told."""
        asked = monotonic()
        self._store(key).remove(key)
        self.history.add(key, None, asked, monotonic())

    def push(self, key):
        for connection in self._tracked.pop(key, ()):
            connection.send(push(b"invalidate", [key]))

    def forget(self, key):
        """Let a node not know any more who read a key."""
        self._tracked.pop(key, None)

    def flush(self, key):
        """Empty the node that has this key, and no other."""
        self.remove(key)
        for connection in self._tracked.pop(key, ()):
            connection.send(push(b"invalidate", None))

    @property
    def listener(self):
        """The connection to the first primary."""
        address = (self.a.host, self.a.port)
        return next(one for one in self.tracker.listeners if tuple(one._way[0]) == address)

    def tracking(self, node):
        """The connections that a node tracks."""
        return {one for one in node.connections if one in self._tracking}

    def connect_again(self):
        """Hang up on the tracking connection, and wait until there is another."""
        (before,) = self.tracking(self.a)
        before.drop()
        await_true(lambda: self.tracking(self.a) - {before})
        await_true(lambda: self.listener.source.ready)

    # The client -------------------------------------------------------------------------------

    def read(self, key):
        """Begin a reading, whose answer has come."""
        (reading,) = self.tracker.read([key])
        assert reading.data is not MISSING
        return reading

    def warm(self, *keys):
        """Keep keys, and look at them."""
        for key in keys:
            self.here.warm(key)
            assert self.look(key)

    def keep(self, reading, **options):
        """Keep what was read, and give the reading back."""
        with reading:
            return reading.keep(reading.data, **options)

    def look(self, key, name=None):
        """Look whether a key is served, and note what is."""
        began = monotonic()
        value = self.near.get(key if name is None else name)
        if value is MISSING:
            return False
        number = None if value is None else int(value)
        self.seen.append(Seen(began, monotonic(), key, number))
        return True

    def watch(self, key, seconds=None, name=None):
        """Look at a key until it goes, or is too old, or, if `seconds` is given, for that long."""
        began = monotonic()
        while monotonic() < began + (10.0 if seconds is None else seconds):
            served = self.look(key, name)
            old = self.history.age(self.seen[-1]) > self.bound
            if old or not (served or seconds):
                return
            threading.Event().wait(0.002)

    def die_behind_a_pong(self):
        """Let the first primary say PONG once more and then nothing; nobody hears, see `gate`."""
        answered = threading.Event()

        def ping(*_):
            if answered.is_set():
                return silence()
            self.gate.clear()
            answered.set()
            return simple("PONG")

        self.a.on("PING", ping)
        assert answered.wait(5.0)


@contextmanager
def near_world(bound, **options):
    """Open one.

    Args:
        bound: The oldest that a hit may be, in seconds.
        options: The near cache's.
    """
    near = NearCache(**{"max_silence": 30.0, **options})
    with (
        FakeCluster(primaries=2) as cluster,
        nearby(cluster.url, near=near) as here,
        _gate() as gate,
    ):
        yield World(cluster, here, bound, gate)


@contextmanager
def _gate():
    """An event: while it is cleared the process stands still, and what comes waits in sockets."""
    gate, real = threading.Event(), Attendant._serve

    def serve(self, ready, bell):
        if gate.is_set():
            return real(self, ready, bell)
        gate.wait(20.0)
        return monotonic()  # first of all, what has come meanwhile is read

    gate.set()
    with patch.object(Attendant, "_serve", serve):
        try:
            yield gate
        finally:
            gate.set()
