"""The shells, as a scenario needs them: both play it from one text, and only this differs."""

from __future__ import annotations

import inspect
import threading
from contextlib import asynccontextmanager

from clustercache import AsyncCluster, Cluster
from tests import loops


class Blocking:
    """`Cluster`: what is written for both never has to wait for an event loop."""

    name = "sync"
    client = Cluster

    @staticmethod
    def run(coroutine):
        """Run a coroutine that never suspends."""
        try:
            coroutine.send(None)
        except StopIteration as over:
            left = [one for one in threading.enumerate() if one.name == "clustercache"]
            assert not left
            return over.value
        coroutine.close()
        raise AssertionError("the blocking client gave something to be awaited")

    @staticmethod
    async def settled(value):
        """Return what a call of a client's method came to."""
        assert not inspect.isawaitable(value)
        return value

    @staticmethod
    @asynccontextmanager
    async def entered(manager):
        """Enter and leave what is closed with `with`."""
        with manager as inner:
            yield inner


class Looping:
    """`AsyncCluster`, in an event loop of each scenario's own."""

    client = AsyncCluster

    def __init__(self, loop):
        self.loop = loop
        self.name = loop

    def run(self, coroutine):
        """Run a coroutine; neither task nor thread may be left."""
        result = loops.run(coroutine, loop=self.loop, collect=False)
        assert not [one for one in threading.enumerate() if one.name == "clustercache"]
        return result

    @staticmethod
    async def settled(value):
        """Return what a call of a client's method came to."""
        return await value

    @staticmethod
    @asynccontextmanager
    async def entered(manager):
        """Enter and leave what is closed with `async with`."""
        async with manager as inner:
            yield inner


SYNC, ASYNCIO, UVLOOP = Blocking(), Looping("asyncio"), Looping("uvloop")
