"""A circuit breaker: while a shard is away, nobody waits for it more than once.

    closed --`threshold` failures in a row--> open --pause is over--> one probe
      ^                                        ^                        |
      |                                        +--failed: pause x 2-----+
      +-----------------succeeded---------------------------------------+

A cache can do without its servers, so that what matters is that asking costs nothing: an open
breaker says so from one comparison. One asker at a time is told to probe, and should do that
where no caller waits for it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from clustercache.caching.names import misuse

_GROWTH: Final = 2


class Passage(Enum):
    """What a breaker says to a call."""

    GO = auto()
    PROBE = auto()
    """Find out whether the shard is back, by something cheap, and tell the breaker."""
    SKIP = auto()


class Breaker:
    """Tell whether a shard is worth asking. Moments are seconds of one monotonic clock.

    Threads may share one, without a lock: what a race can do is to count a failure too few.

    Args:
        threshold: So many failures in a row open it. One call's failure is a deadline that has
            passed, with all retries in it; so one is evidence enough.
        pause: Seconds until the first probe.
        longest: What pauses grow to, in seconds.
        patience: Seconds after which a probe that nothing was heard of is given to another.

    Raises:
        ConfigurationError: One of them is not positive, or `longest` is less than `pause`.
    """

    __slots__ = (
        "_failures", "_first", "_longest", "_patience", "_pause", "_probing", "_threshold",
        "_turns", "_until", "is_open",
    )  # fmt: skip

    def __init__(
        self,
        *,
        threshold: int = 1,
        pause: float = 0.25,
        longest: float = 10.0,
        patience: float = 15.0,
    ) -> None:
        if threshold < 1 or not 0 < pause <= longest or not patience > 0:
            raise misuse("a breaker's numbers have to be positive, and pause at most longest")
        self._threshold = threshold
        self._first = self._pause = pause
        self._longest = longest
        self._patience = patience
        self._failures = 0
        self._until = 0.0
        self._probing = False
        self._turns: list[None] = []
        self.is_open = False
        """Whether calls should skip the shard; callers may look here before they `ask`."""

    def ask(self, now: float) -> Passage:
        """Return what a call should do; PROBE is said once for each pause."""
        if not self.is_open:
            return Passage.GO
        # Taken before the time is looked at, so that a thread that looked too early finds the turn
        # of then, which is gone.
        turns = self._turns
        if now < self._until:
            return Passage.SKIP
        try:
            turns.pop()  # atomic: of two threads one gets it
        except IndexError:
            return Passage.SKIP
        self._probing = True
        self._wait_until(now + self._patience)
        return Passage.PROBE

    def failed(self, now: float, draw: float) -> None:
        """Take note that a call or a probe could not get through.

        Args:
            now: The present moment.
            draw: A random number from 0 to 1; it makes the pause up to a half shorter, so that
                processes do not probe together.
        """
        if not self.is_open:
            self._failures += 1
            if self._failures < self._threshold:
                return
            self.is_open = True
        elif self._probing:
            self._pause = min(self._pause * _GROWTH, self._longest)
        else:
            return  # it had set out before the breaker opened
        self._probing = False
        self._wait_until(now + self._pause * (1 - draw / 2))

    def succeeded(self) -> None:
        """Take note that a call or a probe got through."""
        if self.is_open or self._failures:
            self._failures = 0
            self._pause = self._first
            self._probing = False
            self.is_open = False

    def _wait_until(self, moment: float) -> None:
        self._until = moment
        self._turns = [None]
