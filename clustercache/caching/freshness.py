"""How long a value is good for, and what may be done with one that is not.

    |<--------------- fresh -------------->|<---- stale ---->|
    |                      ... early ...   |<------- stale_if_error ------->|
    written                           fresh_until                         kept: the server's TTL

Stale windows are those of RFC 5861, and both begin where freshness ends. An early refresh is
XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
2015): each reader draws, and the nearer the end and the longer the value takes to compute, the
likelier it is told to compute it anew; so that of many readers one does, before the end.

Moments are milliseconds since 1970 by the clock of whoever writes and reads: the difference
between the clocks of two machines is added to or taken from what is fresh, while what is kept
ends by the server's clock alone.
"""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Callable

Span: TypeAlias = "float | timedelta"
"""Seconds, or a timedelta."""

Ttl: TypeAlias = "Span | Callable[[Any], Span | None] | None"

# -log(1 - x) for the largest x below 1 that a generator of 53 bits returns is 36.7.
_LONGEST_DRAW: Final = 37

_LONGEST: Final = 1_000_000_000_000
"""Seconds: a server counts milliseconds since 1970 in 63 bits, and its scripts in 53."""


class Verdict(Enum):
    """What a value that was found is good for."""

    FRESH = auto()
    EARLY = auto()
    """It may be served, and this reader should compute it anew."""
    STALE = auto()
    """It may be served while somebody computes it anew."""
    ON_ERROR = auto()
    """It may be served if it cannot be computed anew."""
    EXPIRED = auto()


class Lifetime(NamedTuple):
    """How long a new value lives, in milliseconds; None for ever."""

    fresh: int | None
    kept: int | None
    """The time to live at the server."""


class Freshness:
    """Decide about the age of values; one serves all threads.

    Args:
        ttl: Seconds or a timedelta that values are fresh for; None for ever; or a callable that
            takes the value and returns one of these. 0 and less: it is not to be stored.
        jitter: The part of it, from 0 to 1, that chance may take away, so that what was stored
            together does not end together.
        stale: Seconds or a timedelta after it in which the old value may be served while it is
            computed anew.
        stale_if_error: The same, where computing it fails.
        early: How eager early refreshes are: 1 is best in theory, more is earlier, 0 is never.

    Raises:
        ConfigurationError: A time or a number is out of its range.
    """

    __slots__ = ("_early", "_jitter", "_on_error", "_stale", "_ttl")

    def __init__(
        self,
        ttl: Ttl,
        *,
        jitter: float = 0.0,
        stale: Span = 0,
        stale_if_error: Span = 0,
        early: float = 1.0,
    ) -> None:
        self._ttl = ttl if callable(ttl) else _milliseconds("ttl", ttl)
        if not 0 <= jitter <= 1:
            raise misuse(f"jitter={jitter!r} has to be from 0 to 1")
        if not 0 <= early < math.inf:
            raise misuse(f"early={early!r} has to be 0 or more")
        self._jitter = jitter
        self._early = early
        self._stale = _window("stale", stale)
        self._on_error = _window("stale_if_error", stale_if_error)

    def lifetime(self, value: Any, draw: Callable[[], float]) -> Lifetime | None:
        """Return how long a value that was just computed lives, or None: do not store it.

        Args:
            value: The value, for a `ttl` that depends on it.
            draw: Returns a number from 0 to less than 1, as `random.random` does.

        Raises:
            ConfigurationError: The `ttl` that was called returned what is no time.
        """
        ttl = _milliseconds("ttl", self._ttl(value)) if callable(self._ttl) else self._ttl
        if ttl is None:
            return Lifetime(None, None)
        if ttl <= 0:
            return None
        fresh = max(1, round(ttl * (1 - self._jitter * draw()))) if self._jitter else ttl
        return Lifetime(fresh, fresh + max(self._stale, self._on_error))

    def verdict(
        self, fresh_until: int | None, cost: int, now: int, draw: Callable[[], float]
    ) -> Verdict:
        """Return what a value that was found is good for.

        Args:
            fresh_until: When it ceases to be fresh, or None for never.
            cost: Microseconds that it took to compute; 0 if that is unknown.
            now: The present moment.
            draw: Returns a number from 0 to less than 1.
        """
        if fresh_until is None:
            return Verdict.FRESH
        left = fresh_until - now
        if left > 0:
            reach = cost * self._early / 1000
            # Far from the end no draw can be high enough, and none is made.
            far = left > reach * _LONGEST_DRAW
            early = not far and self.ahead(cost, draw) >= left
            return Verdict.EARLY if early else Verdict.FRESH
        if -left < self._stale:
            return Verdict.STALE
        return Verdict.ON_ERROR if -left < self._on_error else Verdict.EXPIRED

    def ahead(self, cost: int, draw: Callable[[], float]) -> float:
        """Return how many milliseconds before the end one reader computes a value anew.

        Args:
            cost: Microseconds that it took to compute.
            draw: Returns a number from 0 to less than 1.
        """
        return -math.log(1 - draw()) * cost * self._early / 1000

    @property
    def spare(self) -> float:
        """Seconds after the end in which a value may stand for one that cannot be computed."""
        return self._on_error / 1000

    @property
    def longest(self) -> int | None:
        """The longest that a value is kept, in milliseconds; None where that is not known."""
        if callable(self._ttl) or self._ttl is None:
            return None
        return self._ttl + max(self._stale, self._on_error)


def _milliseconds(name: str, span: Any) -> int | None:
    """Return a span in milliseconds; from a microsecond on it is at least one."""
    if span is None:
        return None
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(span, bool) or not isinstance(seconds, (int, float)):
        raise misuse(f"{name}= has to be seconds or a timedelta, not a {type(span).__qualname__}")
    if not abs(seconds) < _LONGEST:
        raise misuse(f"{name}= has to be less than {_LONGEST:,} seconds; None is for ever")
    return math.ceil(round(seconds * 1000, 3))


def _window(name: str, span: Span) -> int:
    window = _milliseconds(name, span)
    if window is None or window < 0:
        raise misuse(f"{name}= has to be 0 or more seconds")
    return window
