"""The asyncio client with the blocking one's face, so that one test tries both.

Its loop runs in a thread of its own; each call is made there and waited for here. A block of
`deadline` and the like holds all the same, for a call takes the caller's context along.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clustercache import AsyncCluster, Cluster
from clustercache._async.pipeline import AsyncPipeline
from clustercache._scripts import AsyncLock, AsyncScript

PARTS = (AsyncPipeline, AsyncScript, AsyncLock)


class Loop:
    """An event loop in a thread; `close` finds no task left on it."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._executor = ThreadPoolExecutor(16)
        self._loop.set_default_executor(self._executor)
        self._thread = threading.Thread(target=self._loop.run_forever, name="asyncio-face")
        self._thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        left = asyncio.all_tasks(self._loop)
        self._executor.shutdown()
        self._loop.close()
        assert not left, left


class Face:
    """Something of the asyncio client, called as its blocking twin is."""

    def __init__(self, inner, loop, *, owns_loop=False):
        self.inner = inner
        self._loop = loop
        self._owns_loop = owns_loop

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        return self._blocking(found) if inspect.isroutine(found) else found

    def _blocking(self, method):
        def call(*args, **options):
            given = [one.inner if isinstance(one, Face) else one for one in args]
            options = {k: o.inner if isinstance(o, Face) else o for k, o in options.items()}
            if isinstance(self.inner, AsyncPipeline):
                result = method(*given, **options)  # keeping a call takes no loop
                if inspect.iscoroutine(result):
                    result = self._loop.call(result)
            else:
                result = self._loop.call(on_the_loop(method, given, options))
            return self._faced(result)

        return call

    def _faced(self, result):
        if result is self.inner:
            return self
        return Face(result, self._loop) if isinstance(result, PARTS) else result

    def transaction(self, func, *watches, **options):
        async def asked(pipe):
            return await asyncio.to_thread(func, Face(pipe, self._loop))

        return self._loop.call(self.inner.transaction(asked, *watches, **options))

    def deadline(self, seconds):
        return self.inner.deadline(seconds)

    def retry(self, policy):
        return self.inner.retry(policy)

    def close(self):
        self._loop.call(self.inner.aclose())

    def __call__(self, *args, **options):
        return self._blocking(self.inner.__call__)(*args, **options)

    def __enter__(self):
        return self._faced(self._loop.call(self.inner.__aenter__()))

    def __exit__(self, *problem):
        try:
            self._loop.call(self.inner.__aexit__(*problem))
        finally:
            if self._owns_loop:
                self._loop.close()

    def __len__(self):
        return len(self.inner)

    def __bool__(self):
        return True

    def __repr__(self):
        return repr(self.inner)


async def on_the_loop(method, args, options):
    result = method(*args, **options)
    return await result if inspect.iscoroutine(result) else result


class Blocking:
    name = "blocking"
    from_url = Cluster.from_url


class Asyncio:
    name = "asyncio"

    @staticmethod
    def from_url(*args, **options):
        client = AsyncCluster.from_url(*args, **options)
        return Face(client, Loop(), owns_loop=True)


@pytest.fixture(params=[Blocking, Asyncio], ids=lambda one: one.name)
def shell(request):
    """Either client, with the blocking one's face."""
    return request.param
