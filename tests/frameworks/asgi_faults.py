"""Stores that cannot be asked, for as long as a test likes."""

from __future__ import annotations

from contextlib import contextmanager
from time import time

from clustercache.exceptions import SessionUnavailableError
from clustercache.sessions import AsyncSessionStore
from clustercache.sessions.memory import Memory


class Clock:
    """Tells the time that a test likes."""

    def __init__(self):
        self.now = time()

    def __call__(self):
        return self.now


def stored(clock=time, **settings):
    """Return a store in this process, of its own."""
    store = AsyncSessionStore(Memory(clock), **settings)
    store.plans._clock = clock
    return store


class Faulty:
    """Answers for the way to the servers: some calls fail, the others get there."""

    def __init__(self, way, make, ops):
        self.way, self.make, self.ops, self.asked = way, make, ops, []

    async def ask(self, calls):
        self.asked += [call.op for call in calls]
        if self.ops is None or any(call.op in self.ops for call in calls):
            return [self.make() for _ in calls]
        return await self.way.ask(calls)


@contextmanager
def failing(store, *ops, error=SessionUnavailableError):
    """Let calls of some kinds fail, or of all kinds."""
    way = store._sent
    store._sent = Faulty(way, lambda: error("nobody answers"), ops or None)
    try:
        yield store._sent
    finally:
        store._sent = way


@contextmanager
def counted(store):
    """Let all calls get there, and tell which."""
    way = store._sent
    store._sent = Faulty(way, None, ())
    try:
        yield store._sent.asked
    finally:
        store._sent = way
