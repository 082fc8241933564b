"""A node that does not answer: calls wait here until it is well again or replaced."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clustercache._sync.pool import Pool


class Crowded(Exception):  # noqa: N818 - an event; the shell raises ShardUnavailableError from it
    """As many callers as may wait for a node do."""


class Flag:
    """A `threading.Event` whose lock a signal handler may take while its thread has it."""

    __slots__ = ("_changed", "_lock", "_set")

    def __init__(self) -> None:
        """Begin unset."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._set = False

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake those who wait."""
        with self._lock:
            self._set = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Unset it."""
        self._set = False

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, and tell whether that came in time."""
        with self._lock:
            return self._changed.wait_for(self.is_set, seconds)


class Suspicion:
    """One suspected node. `over` is set when it answers again, or is not what it was any more."""

    __slots__ = ("__weakref__", "_lock", "_waiting", "over", "pool", "replica")

    def __init__(self, pool: Pool, *, replica: bool = False) -> None:
        """Begin to doubt the node of `pool`: a primary, or a replica that serves reads."""
        self.pool = pool
        self.over = Flag()
        self.replica = replica
        self._lock = threading.RLock()
        self._waiting = 0

    def wait(self, seconds: float, most: int) -> bool:
        """Wait until it is over, and tell whether that came in time.

        Args:
            seconds: How long to wait at most.
            most: How many callers may wait at a time.

        Raises:
            Crowded: As many wait already.
        """
        with self._lock:
            if self._waiting >= most:
                raise Crowded
            self._waiting += 1
        try:
            return self.over.wait(max(seconds, 0.0))
        finally:
            with self._lock:
                self._waiting -= 1
