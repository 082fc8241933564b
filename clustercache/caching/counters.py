"""Counting that costs next to nothing: `figures` says what is counted."""

from __future__ import annotations

import os
from collections import deque
from itertools import count, islice
from threading import Lock
from typing import TYPE_CHECKING, Final

from clustercache.caching.figures import FunctionStats

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNTED: Final = (
    "near_hits", "far_hits", "misses", "stale_served", "stampedes_avoided", "computes", "errors",
    "skipped",
)  # fmt: skip


class _Sums:
    """What is summed up and not counted; a lock for all of them, as computing is rare."""

    lock = Lock()

    __slots__ = ("costs", "costs_known", "seconds")

    def __init__(self) -> None:
        self.seconds = self.costs = 0.0
        self.costs_known = 0


def _renew_lock() -> None:
    _Sums.lock = Lock()  # a thread that the child does not have may have held it


os.register_at_fork(after_in_child=_renew_lock)


class Counters:
    """Count one function's calls, from any thread and without a lock.

    Each counter is called: ``counters.misses()`` counts one, ``counters.misses(5)`` counts five.
    """

    __slots__ = (*_COUNTED, "_counts", "_sums")

    near_hits: Callable[..., None]
    far_hits: Callable[..., None]
    misses: Callable[..., None]
    stale_served: Callable[..., None]
    stampedes_avoided: Callable[..., None]
    computes: Callable[..., None]
    errors: Callable[..., None]
    skipped: Callable[..., None]

    def __init__(self) -> None:
        """Begin at nothing."""
        self._counts = {name: count() for name in _COUNTED}
        for name, counter in self._counts.items():
            setattr(self, name, _adder(counter))
        self._sums = _Sums()

    def computed(self, seconds: float) -> None:
        """Count a computation that returned.

        Args:
            seconds: How long it took.
        """
        self.computes()
        with _Sums.lock:
            self._sums.seconds += seconds

    def saw_cost(self, microseconds: int) -> None:
        """Take note of what a value that was found took to compute, wherever that was.

        Args:
            microseconds: How long; 0 says that it is not known.
        """
        if microseconds:
            with _Sums.lock:
                self._sums.costs += microseconds / 1_000_000
                self._sums.costs_known += 1

    def read(self) -> FunctionStats:
        """Return what was counted until now."""
        # Taking the next number would count; what a counter shows of itself does not.
        counts = {name: int(repr(one)[6:-1]) for name, one in self._counts.items()}
        with _Sums.lock:
            seconds, costs = self._sums.seconds, self._sums.costs
            known = counts["computes"] + self._sums.costs_known
        stats = FunctionStats(**counts, compute_seconds=seconds)
        mean = (seconds + costs) / known if known else 0.0
        return FunctionStats(**counts, compute_seconds=seconds, time_saved=mean * stats.hits)


def _adder(counter: count[int]) -> Callable[..., None]:
    step = counter.__next__

    def add(times: int = 1) -> None:
        if times == 1:
            step()
        else:
            deque(islice(counter, times), maxlen=0)

    return add
