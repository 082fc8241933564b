"""One leader per key in an event loop: the others wait for what it brings.

As `flights`, but the work is a task of its own: who asked first may be cancelled, and the work goes
on for the others and for the cache. All get what they get in the moment in which it lands.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from clustercache._async.foreign import leave
from clustercache.caching.loops import PerLoop

if TYPE_CHECKING:
    from asyncio import Future, Task
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")

_CLOSING = 1.0
"""Seconds that cancelled work may take to end."""

_within: ContextVar[tuple[object, ...]] = ContextVar("clustercache_flights", default=())
"""The flights whose work this is part of: tasks that the work makes know it, too."""


class _End(Enum):
    RESULT = auto()
    ERROR = auto()
    DIED = auto()
    """Of what is no Exception."""
    ALONE = auto()
    """It is not waited for any longer."""


class _Flight:
    __slots__ = ("again", "landed", "mark", "task", "waiting")

    def __init__(self, again: Callable[[Any], Any]) -> None:
        self.again = again
        self.mark = object()
        self.landed = False
        self.task: Task[None] | None = None
        self.waiting: list[Future[tuple[_End, Any]]] = []
        """A place for each caller; the first is the leader's."""

    def land(self, end: _End, brought: Any = None) -> None:
        """Tell all who wait, once: each gets a result of its own."""
        if self.landed:
            return
        self.landed = True
        owned = False
        for place in self.waiting:
            if place.done():
                continue
            if end is _End.RESULT:
                place.set_result((end, self.again(brought) if owned else brought))
                owned = True
            else:
                place.set_result((end, brought))
        self.waiting.clear()

    async def wait(self, seconds: float | None) -> tuple[_End, Any]:
        """Return how it ended, or that it took longer."""
        loop = asyncio.get_running_loop()
        place: Future[tuple[_End, Any]] = loop.create_future()
        self.waiting.append(place)
        if seconds is None:
            return await place
        timer = loop.call_later(seconds, _late, place)
        try:
            return await place
        finally:
            timer.cancel()


def _late(place: Future[tuple[_End, Any]]) -> None:
    if not place.done():
        place.set_result((_End.ALONE, None))


class _Here:
    """One loop's flights, and the tasks that are not over though their flights may be."""

    __slots__ = ("flights", "tasks")

    def __init__(self) -> None:
        self.flights: dict[Hashable, _Flight] = {}
        self.tasks: set[Task[None]] = set()

    def begin(
        self, key: Hashable, work: Callable[[], Awaitable[Any]], again: Callable[[Any], Any]
    ) -> _Flight:
        flight = self.flights[key] = _Flight(again)
        flight.task = asyncio.get_running_loop().create_task(self._lead(key, flight, work))
        self.tasks.add(flight.task)

        def over(task: Task[None]) -> None:
            self.tasks.discard(task)
            self.land(key, flight, _End.DIED)  # it was cancelled before it began
            if not task.cancelled():
                task.exception()  # whom it concerns was told

        flight.task.add_done_callback(over)
        return flight

    async def _lead(
        self, key: Hashable, flight: _Flight, work: Callable[[], Awaitable[Any]]
    ) -> None:
        _within.set((*_within.get(), flight.mark))
        try:
            result = await work()
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            self.land(key, flight, _End.ERROR, (error, error.__traceback__))
        except BaseException:
            self.land(key, flight, _End.DIED)
            raise
        else:
            self.land(key, flight, _End.RESULT, result)

    def land(self, key: Hashable, flight: _Flight, end: _End, brought: Any = None) -> None:
        if self.flights.get(key) is flight:
            del self.flights[key]
        flight.land(end, brought)

    def leave(self) -> None:
        leave(*self.tasks)


class AsyncFlights:
    """The work under way in each event loop, by key."""

    def __init__(self) -> None:
        """Begin with none."""
        self._loops = PerLoop(_Here, _Here.leave)

    async def fly(
        self,
        key: Hashable,
        work: Callable[[], Awaitable[T]],
        alone: Callable[[], Awaitable[T]],
        wait: float,
        again: Callable[[T], T],
    ) -> tuple[T, bool]:
        """Return what the one `work` under way returns, and whether another caller began it.

        Args:
            key: Of the work; there is one at a time for each, in each loop.
            work: Awaited in a task of its own, with a copy of this context.
            alone: Awaited here, if there is no waiting for another's work.
            wait: Seconds to wait for another's work, at most.
            again: Returns a copy of a result; it raises nothing.

        Raises:
            Exception: What the work raised, whoever began it.
        """
        here, until = self._loops.here(), None
        while True:
            flight, began = here.flights.get(key), False
            if flight is None:
                flight, began = here.begin(key, work, again), True
                left = None
            elif flight.mark in _within.get():
                return await alone(), False
            else:
                now = asyncio.get_running_loop().time()
                until = now + wait if until is None else until
                left = max(until - now, 0.0)
            end, brought = await flight.wait(left)
            if end is _End.RESULT:
                return brought, not began
            if end is _End.ALONE:
                return await alone(), False
            if end is _End.ERROR:
                error, trace = brought
                del flight, brought
                try:
                    raise error.with_traceback(trace)
                finally:
                    del error, trace  # an error knows this frame: they are not to know each other
            if began:
                raise asyncio.CancelledError

    async def aclose(self) -> None:
        """Cancel what is under way in this loop, and wait for its end; callers go on alone."""
        here, inside, ending = self._loops.here(), _within.get(), []
        for key, flight in list(here.flights.items()):
            if flight.task is not None and flight.mark not in inside:
                here.land(key, flight, _End.ALONE)
                flight.task.cancel()
                ending.append(flight.task)
        if ending:
            await asyncio.wait(ending, timeout=_CLOSING)
