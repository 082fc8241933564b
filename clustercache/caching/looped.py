"""Reads by coroutines: what one turn of an event loop asks goes out at once, and the loop reads it.

A tracking connection belongs to no loop, so a loop looks at a copy of its descriptor, which lives
until the loop lets it go, whatever becomes of the connection. It begins to look with the first read
and ends with the first that comes while nobody waits. Where it cannot read without waiting (half a
record of TLS is readable, too) the attendant reads, and wakes the loop.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

    from clustercache.caching.line import Line
    from clustercache.caching.reading import Reading

_OCCUPIED = 0.001
"""Seconds until a loop looks again at a connection that another thread reads."""


class LoopReader:
    """The reads of one event loop. All is called in its thread, but for `abandon` and `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at nothing yet."""
        self._loop = loop
        self._thread = threading.get_ident()
        self._asked: dict[Line, list[Reading]] = {}
        self._places: dict[Line, _Place] = {}
        self._waits: dict[_Wait, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, parts: Mapping[Any, Sequence[Reading]], seconds: float) -> None:
        """Read keys on their lines; wait for `seconds` at the most."""
        wait = _Wait(self, self._loop.create_future())
        for readings in parts.values():
            for reading in readings:
                reading.then = wait.one_done
                wait.left += 1
        self._end_at(wait, self._loop.time() + seconds)
        try:
            self._begin(parts)
            await wait.future
        finally:
            del self._waits[wait]
            for readings in parts.values():
                for reading in readings:
                    reading.done = True

    def _end_at(self, wait: _Wait, when: float) -> None:
        """Let a wait end then; one timer is enough for all, and mostly comes for none."""
        self._waits[wait] = when
        if self._timer is None or when < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(when, self._end_overdue)

    def _end_overdue(self) -> None:
        self._timer, now = None, self._loop.time()
        for wait, when in list(self._waits.items()):
            if when <= now:
                wait.end()
            else:
                self._end_at(wait, when)

    def _begin(self, parts: Mapping[Any, Sequence[Reading]]) -> None:
        scheduled = bool(self._asked)
        for line, readings in parts.items():
            self._asked.setdefault(line, []).extend(readings)
        if len(self._waits) == 1 and not scheduled:
            self._ask()  # there is nothing to be sent along with it
        elif not scheduled:
            self._loop.call_soon(self._ask)

    def _ask(self) -> None:
        asked, self._asked = self._asked, {}
        for line, readings in asked.items():
            self._look_at(line)
            line.send(readings)

    def _look_at(self, line: Line) -> None:
        place = self._places.get(line)
        if place is not None and line.is_on(place.link):
            line.will_look()
            return
        self._forget(line)
        link, descriptor = line.lend()
        if descriptor is not None:
            self._places[line] = _Place(link, descriptor)
            line.loops.add(self)
            line.will_look()
            self._loop.add_reader(descriptor, self._ready, line)

    def _ready(self, line: Line) -> None:
        place = self._places.get(line)
        if place is None:
            return
        occupied = line.is_on(place.link) and not line.look()
        if not self._waits or not line.is_on(place.link):
            self._forget(line)
        elif occupied:
            # It would be told so again and again.
            self._loop.remove_reader(place.descriptor)
            self._loop.call_later(_OCCUPIED, self._again, line, place)

    def _again(self, line: Line, place: _Place) -> None:
        if self._places.get(line) is place:
            self._loop.add_reader(place.descriptor, self._ready, line)

    def _forget(self, line: Line) -> None:
        place = self._places.pop(line, None)
        if place is not None:
            line.loops.discard(self)
            self._loop.remove_reader(place.descriptor)
            os.close(place.descriptor)

    def hurry(self, wait: _Wait) -> None:
        """Count one answer that another thread has read."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(wait.one_done)

    def is_here(self) -> bool:
        """Tell whether this is the loop's thread."""
        return threading.get_ident() == self._thread

    def close(self) -> None:
        """Let go of all connections, in the loop's thread."""
        try:
            self._loop.call_soon_threadsafe(self._forget_all)
        except RuntimeError:  # the loop was closed
            self.abandon()

    def _forget_all(self) -> None:
        for line in list(self._places):
            self._forget(line)

    def abandon(self) -> None:
        """Close the descriptors of a loop that was closed, or is another process's."""
        with suppress(KeyError):  # until there is none left
            while True:
                line, place = self._places.popitem()
                line.loops.discard(self)
                os.close(place.descriptor)

    def __del__(self) -> None:
        """Leave nothing behind where a tracker is dropped, and its loop is."""
        self.abandon()


class _Place(NamedTuple):
    link: Any
    descriptor: int


class _Wait:
    """For how many answers a coroutine waits."""

    __slots__ = ("future", "left", "reader")

    def __init__(self, reader: LoopReader, future: asyncio.Future[None]) -> None:
        self.reader = reader
        self.future = future
        self.left = 0

    def one_done(self) -> None:
        if not self.reader.is_here():
            self.reader.hurry(self)
            return
        self.left -= 1
        if not self.left:
            self.end()

    def end(self) -> None:
        if not self.future.done():
            self.future.set_result(None)
