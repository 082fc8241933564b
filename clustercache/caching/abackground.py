"""Work that nobody waits for, or not for long: a few tasks of one cache, in each event loop."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar

from clustercache._async.foreign import leave
from clustercache.caching.arenewals import arenewing
from clustercache.caching.loops import PerLoop

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable, Coroutine, Hashable

    from clustercache.caching.background import Around

__all__ = ["AsyncBackground", "arenewing"]

T = TypeVar("T")

_log = logging.getLogger("clustercache.cache")
_CLOSING: Final = 1.0
"""Seconds that cancelled work may take to end."""


class _Here:
    """One loop's tasks."""

    __slots__ = ("keys", "tasks", "turns")

    def __init__(self, workers: int) -> None:
        self.turns = asyncio.Semaphore(workers)
        self.tasks: set[Task[Any]] = set()
        self.keys: set[Hashable] = set()

    def begin(self, work: Coroutine[Any, Any, T], key: Hashable = None) -> Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)

        def over(task: Task[T]) -> None:
            self.tasks.discard(task)
            self.keys.discard(key)
            if not task.cancelled():
                task.exception()  # whoever waits for it knows

        task.add_done_callback(over)
        return task

    def leave(self) -> None:
        leave(*self.tasks)


class AsyncBackground:
    """Runs coroutines in tasks, so many at a time, each with a copy of its giver's context.

    Args:
        workers: How many run at a time, at most, in each loop.
        queue: How many may wait for their turn there.
        around: Called for each piece of work, which runs inside of what it returns.
    """

    def __init__(self, workers: int = 4, *, queue: int = 64, around: Around | None = None) -> None:
        """Start nothing yet."""
        self._limit = workers + queue
        self._around = around or nullcontext
        self._closed = False
        self._loops = PerLoop(lambda: _Here(workers), _Here.leave)

    def submit(self, key: Hashable, work: Callable[[], Awaitable[object]]) -> bool:
        """Run work while nobody waits; return False if it was not taken.

        It is not while the same key's is under way, nor if too much waits. An error is logged.
        """
        here = self._loops.here()
        if key in here.keys or not self._has_room(here):
            return False
        here.keys.add(key)
        here.begin(self._alone(here, work), key)
        return True

    def start(self, work: Callable[[], Awaitable[T]]) -> Task[T] | None:
        """Run work that somebody may wait for; return None if too much waits already."""
        here = self._loops.here()
        return here.begin(self._run(here, work)) if self._has_room(here) else None

    def _has_room(self, here: _Here) -> bool:
        return not self._closed and len(here.tasks) < self._limit

    async def _alone(self, here: _Here, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await self._run(here, work)
        except Exception as error:  # noqa: BLE001 - nobody else hears of it
            _log.warning("background_failed error=%s", type(error).__name__)

    async def _run(self, here: _Here, work: Callable[[], Awaitable[T]]) -> T:
        async with here.turns:
            with self._around():
                return await work()

    async def aclose(self) -> None:
        """Take nothing more; cancel this loop's tasks, and wait a second for their end."""
        self._closed = True
        ending = self._loops.here().tasks - {asyncio.current_task()}
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=_CLOSING)
