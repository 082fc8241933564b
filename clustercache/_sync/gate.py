"""What protects a primary from the reads of its replicas, when these are gone.

A place is freed when it is given back, or when nobody holds it any more: an exception may come
between taking it and the `try` that gives it back.
"""

from __future__ import annotations

import threading
import weakref
from time import monotonic

_LOOK = 0.05
"""Seconds after which a waiter looks for places that were lost rather than given back."""


class Place:
    """The right to have one read under way."""

    __slots__ = ("__weakref__",)


class Gate:
    """A number of places for reads; waiting for one ends with the caller's deadline."""

    __slots__ = ("_freed", "_held", "_lock", "_places")

    def __init__(self, places: int) -> None:
        """Allow so many reads at a time."""
        self._places = places
        self._lock = threading.RLock()
        self._freed = threading.Condition(self._lock)
        self._held: weakref.WeakSet[Place] = weakref.WeakSet()

    def enter(self, deadline: float) -> Place | None:
        """Return a place, or None if none is free before `deadline` (monotonic seconds)."""
        place = Place()
        with self._lock:
            while len(self._held) >= self._places:
                left = deadline - monotonic()
                if left <= 0:
                    return None
                self._freed.wait(min(left, _LOOK))
            self._held.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        with self._lock:
            self._held.discard(place)
            self._freed.notify()
