"""Leases that are renewed while somebody computes: one thread for all of a process."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PART: Final = 3
"""A lease is renewed so many times before it would end."""

_IDLE: Final = 5.0
"""Seconds after which the thread ends, if there was nothing to renew."""


class _Held:
    """A lease that somebody holds."""

    __slots__ = ("due", "every", "renew")

    def __init__(self, every: float, renew: Callable[[], bool]) -> None:
        self.every = every
        self.renew = renew
        self.due = monotonic() + every


class Renewals:
    """All leases that this process holds, and the thread that renews them.

    One that renews slowly, because its shard is away, has a thread of its own for that time.
    """

    def __init__(self) -> None:
        """Hold none."""
        self.begin()

    def begin(self) -> None:
        """Hold none, as in a child after a fork."""
        self._held: set[_Held] = set()
        self._changed = threading.Condition(threading.Lock())
        self._runs = False

    @contextmanager
    def keeping(self, lease: float, renew: Callable[[], bool]) -> Iterator[None]:
        """Renew a lease while the block runs.

        Args:
            lease: How long it is, in seconds.
            renew: Renews it, and tells whether one has it still; called from another thread.
        """
        held = _Held(lease / _PART, renew)
        with self._changed:
            self._held.add(held)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._work, name="clustercache-leases", daemon=True).start()
            elif held.due < self._next:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(held)

    _next = 0.0

    def _work(self) -> None:
        idle = monotonic() + _IDLE
        while True:
            with self._changed:
                now = monotonic()
                due = [held for held in self._held if held.due <= now]
                if not due:
                    if self._held:
                        idle = now + _IDLE
                    elif now >= idle:
                        self._runs = False
                        return
                    self._next = min((held.due for held in self._held), default=idle)
                    self._changed.wait(max(self._next - now, 0.0))
                    continue
                for held in due:
                    held.due = now + held.every
            for held in due:
                threading.Thread(target=self._renew, args=(held,), daemon=True).start()

    def _renew(self, held: _Held) -> None:
        try:
            keeps = held.renew()
        except Exception:  # noqa: BLE001 - the next time may do
            keeps = True
        if not keeps:
            with self._changed:
                self._held.discard(held)


RENEWALS: Final = Renewals()
os.register_at_fork(after_in_child=RENEWALS.begin)
