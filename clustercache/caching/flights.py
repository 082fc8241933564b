"""One leader per key in a process: the others wait for what it brings, for threads.

    arrive -- nobody flies ---------> lead: work in this thread; land; hand copies to who waits
           -- this thread leads ----> alone, for it would wait for itself
           -- somebody else leads --> follow -- a result ---> a copy of it
                                             -- an error ---> the same error
                                             -- died -------> arrive again: one of them leads
                                             -- too long ---> alone

No lock is taken where nobody meets: `dict.setdefault` decides who leads. To land is to leave the
dictionary, then to say `landed`, then to look who waits; to follow is to join those who wait, then
to look whether it landed. So either the leader sees a follower, or the follower sees that it is
late and arrives anew.
"""

from __future__ import annotations

import os
import threading
import weakref
from _thread import allocate_lock, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

T = TypeVar("T")


class _Flight:
    __slots__ = ("error", "landed", "leader", "result", "trace", "waiting")

    def __init__(self) -> None:
        self.leader = get_ident()
        self.waiting: list[Any] = []
        """A lock of each follower, which the leader opens."""
        self.landed = False
        self.result: tuple[Any] | None = None
        self.error: Exception | None = None
        self.trace: TracebackType | None = None

    def bring(self, error: Exception) -> None:
        """Take an error along, with the traceback as it is now: it grows wherever it is raised."""
        self.error, self.trace = error, error.__traceback__

    def wake(self) -> None:
        """Let followers go on; whoever is woken twice does not mind."""
        for lock in self.waiting:
            if lock.locked():
                lock.release()


class Flights:
    """The work under way in this process, by key; for any number of threads.

    A forked child begins with none: who leads in the parent does not live in the child.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._flights: dict[Hashable, _Flight] = {}
        _all.add(self)

    def fly(
        self,
        key: Hashable,
        work: Callable[[], T],
        alone: Callable[[], T],
        wait: float,
        again: Callable[[T], T],
    ) -> tuple[T, bool]:
        """Return what the one leader's `work` returns, and whether another thread led.

        Args:
            key: Of the work; there is one leader for each.
            work: Called in this thread, if it leads.
            alone: Called in this thread, if there is no waiting for a leader.
            wait: Seconds to wait for another's work, at most.
            again: Returns a copy of a result; it raises nothing.

        Raises:
            Exception: What the work raised, in whichever thread.
        """
        mine = there = _Flight()
        until: float | None = None
        try:
            while (there := self._flights.setdefault(key, mine)) is not mine:
                if there.leader == mine.leader:
                    return alone(), False
                if until is None:
                    until = monotonic() + wait
                if not _followed(there, until):
                    return alone(), False
                if there.result is not None:
                    return again(there.result[0]), True
                if there.error is not None:
                    raise there.error.with_traceback(there.trace)
            return self._lead(key, mine, work, again), False
        finally:
            # An interrupt may come where a flight just lands; nobody else would ever end it.
            if not mine.landed:
                self._land(key, mine)
            mine.wake()
            # An error knows this frame by its traceback: one that knows the error closes a circle.
            del mine, there

    def _lead(
        self, key: Hashable, mine: _Flight, work: Callable[[], T], again: Callable[[T], T]
    ) -> T:
        try:
            result = work()
        except Exception as error:
            self._land(key, mine)
            if mine.waiting:
                mine.bring(error)
            del mine
            raise
        self._land(key, mine)
        if mine.waiting:
            # Who led may change its own at once, while followers copy.
            mine.result = (again(result),)
        return result

    def _land(self, key: Hashable, mine: _Flight) -> None:
        if self._flights.get(key) is mine:
            del self._flights[key]
        mine.landed = True

    def after_fork(self) -> None:
        """Forget what is under way, in a child."""
        self._flights = {}


def _followed(there: _Flight, until: float) -> bool:
    """Wait for the end of a flight; return False if it does not come in time."""
    lock = allocate_lock()
    lock.acquire()
    there.waiting.append(lock)
    if there.landed:
        return True
    left = min(max(until - monotonic(), 0.0), threading.TIMEOUT_MAX)
    return lock.acquire(timeout=left)


_all: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for flights in list(_all):
        flights.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
