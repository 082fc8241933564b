"""A cache and functions that it decorates, told once for `Cache` and `AsyncCache`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from uuid import uuid4

from clustercache import MISSING, AsyncCache, Cache, NearCache
from tests.asyncs import Blocking, Bridged
from tests.nearby import await_true


class Stage:
    """Opens caches of one kind at one place; all of a stage share their values.

    Attributes:
        cache: The first one, which is used as a `Cache` whatever it is.
        namespace: That of all.
        is_async: Whether functions are made coroutine functions.
    """

    def __init__(self, shell, url, *, near):
        self.is_async = shell is Blocking
        self._bridge = shell._of_test if self.is_async else None
        self._url, self._near = url, near
        self._opened = []
        self.namespace = f"t{uuid4().hex}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for cache in self._opened:
            cache.close()

    @functools.cached_property
    def cache(self):
        return self.open()

    @property
    def in_process(self):
        return self._url.startswith("memory:")

    @property
    def near(self):
        """Whether values are kept near."""
        return self._near and not self.in_process

    def open(self, *, warm=True, **options):
        """Open one more; a warm one keeps near what it reads."""
        options.setdefault("namespace", self.namespace)
        if self._near:
            options.setdefault("near", NearCache())
        kind = AsyncCache if self.is_async else Cache
        made = kind.from_url(self._url, **options)
        cache = Bridged(self._bridge, made) if self.is_async else made
        self._opened.append(cache)
        if warm and self.near and options["near"] is not None:
            cache.set("first", 1)
            await_true(lambda: cache.get("first") and made.near.get(_name(made, "first")))
        return cache

    def cached(self, body, cache=None, *, threaded=True, **options):
        """Return a function decorated; its coroutine function waits in a thread, unless told."""
        options.setdefault("name", getattr(body, "__name__", "f"))
        return self.called(
            (cache or self.cache).cached(**options)(self.dressed(body, threaded=threaded))
        )

    def cached_many(self, body, cache=None, **options):
        """Return a function of many keys decorated."""
        options.setdefault("name", getattr(body, "__name__", "f"))
        return self.called((cache or self.cache).cached_many(**options)(self.dressed(body)))

    def dressed(self, body, *, threaded=True):
        """Return a function, or a coroutine function that does the same."""

        async def coroutine(*args, **kwargs):
            if threaded:
                return await asyncio.to_thread(body, *args, **kwargs)
            return body(*args, **kwargs)

        def function(*args, **kwargs):
            return body(*args, **kwargs)

        dressed = coroutine if self.is_async else function
        return functools.update_wrapper(dressed, body, updated=())

    def called(self, function):
        """Return something decorated so that it can be called here."""
        return Called(self._bridge, function) if self.is_async else function

    def timed(self, function, times):
        """Call a decorated function so often; return the seconds of each call."""
        return (
            self._bridge.run(_atimed, function.itself, times)
            if self.is_async
            else _timed(function, times)
        )

    def raw(self, function, *args, **kwargs):
        """Return the server's key of a call."""
        return f"{self.namespace}:{function.cache_key(*args, **kwargs)}"


class Called:
    """A decorated coroutine function that is called, with its attributes, as a function is."""

    def __init__(self, bridge, function):
        self._bridge = bridge
        self.itself, self.__doc__ = function, function.__doc__

    def __call__(self, *args, **kwargs):
        return self._bridge.run(self.itself, *args, **kwargs)

    def __getattr__(self, name):
        found = getattr(self.itself, name)
        return partial(self._bridge.run, found) if callable(found) else found


def _timed(function, times):
    took = []
    for _ in range(times):
        began = perf_counter()
        function(1)
        took.append(perf_counter() - began)
    return took


async def _atimed(function, times):
    took = []
    for _ in range(times):
        began = perf_counter()
        await function(1)
        took.append(perf_counter() - began)
    return took


class Held:
    """A function that returns what is true as it begins, and may be held until it is let go.

    Attributes:
        truth: What it returns.
        calls: How often it began.
    """

    def __init__(self):
        self.truth, self.calls = "old", 0
        self.begun, self._go = threading.Event(), threading.Event()

    def __call__(self, pk):
        self.calls += 1
        truth = self.truth
        if self.calls == 1:
            self.begun.set()
            assert self._go.wait(5)
        return [truth, pk]

    @contextmanager
    def held(self, function, *args):
        """Call a function in a thread; in the block it has begun, and after it it is over."""
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(function, *args)
            try:
                assert self.begun.wait(5)
                yield call
            finally:
                self._go.set()
            call.result(20)


class Counted:
    """A function that counts its calls, and returns what it is told to."""

    def __init__(self, make=lambda *args: list(args)):
        self.calls, self._make = [], make
        self.__signature__ = inspect.signature(make)

    def __call__(self, *args, **kwargs):
        self.calls.append(args)
        return self._make(*args, **kwargs)

    @property
    def count(self):
        return len(self.calls)


def _name(cache, key):
    return f"{cache.settings.namespace}:{key}"


def is_near(cache, name):
    """Tell whether something is kept near, by its name there."""
    return cache.near is not None and cache.near.get(name) is not MISSING
