"""The asyncio client used as the blocking one is, so that both pass the same tests.

A portal runs a loop in a thread. What is called on a client that it made is called on that loop,
and waited for; so it is with what such a call returns, a PubSub say. When it is left, nothing may
be left on the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import suppress
from time import monotonic

import pytest

from clustercache import AsyncCluster, Cluster
from clustercache._async.pubsub import AsyncPubSub

PATIENCE = 60.0
"""Seconds that a call may take at the most."""


async def until(condition, seconds=5.0):
    """Let the loop go on until a condition holds."""
    limit = monotonic() + seconds
    while not condition():
        assert monotonic() < limit, "the condition did not come true"
        await asyncio.sleep(0.001)


class Portal:
    """A loop in a thread."""

    def __enter__(self):
        self.problems = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._live(),), name="portal")
        self._thread.start()
        self._ready.wait()
        return self

    async def _live(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._over = asyncio.Event()
        self._ready.set()
        await self._over.wait()
        await self._let_tasks_end()
        self.left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    async def _let_tasks_end(self):
        """What was cancelled ends in the next turn of the loop."""
        limit = monotonic() + 1.0
        while len(asyncio.all_tasks()) > 1 and monotonic() < limit:
            await asyncio.sleep(0)

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert not self.left, self.left
        assert not self.problems, self.problems

    def call(self, function, *args, **kwargs):
        """Call a function on the loop, and wait for what it returns."""

        async def called():
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE)

    def connect(self, url, **options):
        """Return a client, as `Cluster.from_url` does."""
        return Blocking(self, AsyncCluster.from_url(url, **options))


class Blocking:
    """A client, or what it made, whose coroutines are waited for."""

    def __init__(self, portal, target):
        self.portal = portal
        self.target = target

    def __getattr__(self, name):
        value = getattr(self.target, name)
        if not inspect.isroutine(value):
            return value
        if inspect.isasyncgenfunction(value):
            return lambda: self._iterate(value())
        return lambda *args, **kwargs: self._wrapped(self.portal.call(value, *args, **kwargs))

    def _wrapped(self, result):
        return Blocking(self.portal, result) if isinstance(result, AsyncPubSub) else result

    def _iterate(self, iterator):
        with suppress(StopAsyncIteration):
            while True:
                yield self.portal.call(anext, iterator)

    @property
    def _map(self):
        return self.portal.call(lambda: self.target._knowledge.here().map)

    def __iter__(self):
        return self.listen()

    def close(self):
        self.portal.call(self.target.aclose)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return repr(self.target)


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request):
    """What makes a client of either shell."""
    if request.param == "blocking":
        yield Cluster.from_url
        return
    with Portal() as portal:
        yield portal.connect
