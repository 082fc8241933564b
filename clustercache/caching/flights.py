"""One computation of a key at a time in a process: who comes later waits for the first."""

from __future__ import annotations

import os
import threading
import weakref
from threading import get_ident
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class _Flight:
    """What one thread is computing.

    Attributes:
        leader: The thread.
        landed: Set when there is a result, an error, or neither: then the leader was stopped.
        error: What it raised.
    """

    __slots__ = ("error", "has_value", "landed", "leader", "value")

    def __init__(self) -> None:
        self.leader = get_ident()
        self.landed: threading.Event | None = None
        self.has_value = False
        self.value: Any = None
        self.error: Exception | None = None


class Flights:
    """The flights of one function, for any number of threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._under_way: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()
        _all.add(self)

    def fly(
        self,
        key: Hashable,
        work: Callable[[], Any],
        alone: Callable[[], Any],
        wait: float,
        again: Callable[[Any], Any],
    ) -> tuple[Any, bool]:
        """Return what `work` returns, here or in the thread that came first; and which it was.

        Args:
            key: What is computed.
            work: Computes it, in the first thread.
            alone: Computes it in a thread that waited in vain, or inside `work`.
            wait: Seconds that a thread waits for another.
            again: Makes a result for another caller.

        Raises:
            Exception: What `work` has raised, in whichever thread.
        """
        mine = _Flight()
        while (flight := self._under_way.setdefault(key, mine)) is not mine:
            if flight.leader == mine.leader:
                return alone(), False
            if not self._landed(flight).wait(wait):
                return alone(), False
            if flight.error is not None:
                raise flight.error
            if flight.has_value:
                return again(flight.value), True
        try:
            mine.value = work()
            mine.has_value = True
        except Exception as error:
            mine.error = error
            raise
        finally:
            self._under_way.pop(key, None)
            with self._lock:
                landed = mine.landed
                if landed is None:
                    mine.landed = _LANDED
            if landed is not None:
                landed.set()
        return mine.value, False

    def _landed(self, flight: _Flight) -> threading.Event:
        """Return the event, which is made for the first that waits."""
        with self._lock:
            if flight.landed is None:
                flight.landed = threading.Event()
            return flight.landed

    def after_fork(self) -> None:
        """Forget what the parent's threads compute, in a child."""
        self._under_way = {}
        self._lock = threading.Lock()


_LANDED = threading.Event()
_LANDED.set()
_all: weakref.WeakSet[Flights] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for flights in list(_all):
        flights.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
