"""`AsyncCluster` for tests that were written for `Cluster`: what they prove of one holds of both.

`Blocking` runs what is asynchronous to its end on a loop in a thread of its own. A module that says
``from tests.asyncs import shell`` has its tests run twice: the second time its name `Cluster` is
`Blocking`. A test that looks into the blocking client is marked `sync_only`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from clustercache import AsyncCluster
from clustercache import config as configuration

_OURS = ("clustercache._async", "clustercache._nodes", "redis.asyncio", "redis.commands")
"""Whose objects have methods that have to be awaited."""

sync_only = pytest.mark.parametrize("shell", ["sync"], indirect=True)
"""For what only the blocking client has: threads, its own parts, interrupts."""

needs_pipelines = pytest.mark.parametrize(
    "shell", ["sync", "asyncio"] if hasattr(AsyncCluster, "pipeline") else ["sync"], indirect=True
)
"""For what uses pipelines or transactions."""


@pytest.fixture(autouse=True, params=["sync", "asyncio"])
def shell(request, monkeypatch):
    """Which client the module's `Cluster` is."""
    if request.param == "asyncio":
        monkeypatch.setattr(request.module, "Cluster", Blocking)
    return request.param


class _Loop:
    """A loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="loop of a test", daemon=True)
        self._thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, function, *args, **kwargs):
        """Call something on the loop, in the caller's context, and wait for what comes of it."""

        given = [_bare(one) for one in args]
        named = {name: _bare(one) for name, one in kwargs.items()}

        async def call():
            result = function(*given, **named)
            return await result if inspect.isawaitable(result) else result

        return self.wrapped(asyncio.run_coroutine_threadsafe(call(), self.loop).result())

    def wrapped(self, value):
        """Return a value so that a test can use it; what needs the loop is reached through it."""
        kind = type(value)
        if isinstance(value, Bridged):
            return value
        if inspect.isroutine(value) and not isinstance(value, type):
            return lambda *args, **kwargs: self.run(value, *args, **kwargs)
        ours = kind.__module__.startswith(_OURS)
        asynchronous = any(hasattr(kind, name) for name in ("__aenter__", "__anext__", "__aiter__"))
        if ours or asynchronous or hasattr(value, "redis_connection"):
            return Bridged(self, value)
        if kind in {list, tuple}:
            return kind(map(self.wrapped, value))
        return value

    def stop(self):
        """End the loop; nothing may be left in it."""
        if self.loop.is_closed():
            return
        self.run(self.loop.shutdown_default_executor)
        left = self.run(lambda: [one for one in asyncio.all_tasks() if not one.done()])
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        left = [task for task in left if task.get_coro().__qualname__ != "_Loop.run.<locals>.call"]
        assert not left, f"still running: {left}"


def _bare(value):
    """Return what may be in a bridge's end."""
    if type(value) in {list, tuple}:
        return type(value)(map(_bare, value))
    return value._value if isinstance(value, Bridged) else value


class Bridged:
    """Something that lives on a loop, used from outside."""

    def __init__(self, bridge, value):
        vars(self).update(_bridge=bridge, _value=value)

    def __getattr__(self, name):
        found = getattr(self._value, name)
        return found if name.startswith("__") else self._bridge.wrapped(found)

    def __setattr__(self, name, value):
        setattr(self._value, name, value)

    def __call__(self, *args, **kwargs):
        return self._bridge.run(self._value, *args, **kwargs)

    def __enter__(self):
        return self._bridge.run(self._value.__aenter__)

    def __exit__(self, *error):
        return self._bridge.run(self._value.__aexit__, *error)

    def __iter__(self):
        if not hasattr(self._value, "__aiter__"):
            return iter(self._value)
        return (
            self
            if hasattr(self._value, "__anext__")
            else iter(self._bridge.wrapped(self._value.__aiter__()))
        )

    def __next__(self):
        try:
            return self._bridge.run(self._value.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def __len__(self):
        return len(self._value)

    def __bool__(self):
        return bool(self._value)

    def __contains__(self, item):
        return item in self._value

    def __getitem__(self, item):
        return self._bridge.wrapped(self._value[item])

    def __eq__(self, other):
        return self._value == getattr(other, "_value", other)

    def __hash__(self):
        return hash(self._value)

    def __repr__(self):
        return repr(self._value)


class Blocking(Bridged):
    """An `AsyncCluster` that is used as a `Cluster` is."""

    def __init__(self, config):
        bridge = _Loop()
        super().__init__(bridge, AsyncCluster(config))

    @classmethod
    def from_url(cls, url, **options):
        return cls(configuration.from_url(url, **options))

    @property
    def _map(self):
        """The map of its loop."""
        return self._bridge.run(self._value._here).map

    def __getattr__(self, name):
        if name.startswith("get_"):  # what plain methods tell of the cluster has to be known
            self._bridge.run(self._value.initialize)
        return super().__getattr__(name)

    def close(self):
        if self._bridge.loop.is_closed():
            return
        try:
            self._bridge.run(self._value.aclose)
        finally:
            self._bridge.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
