"""Leases that are renewed while their holders work, by one thread of a process.

Most work ends long before its lease is a third over, so to enter and to leave costs next to
nothing: the thread looks after a third, and finds nothing to do. It renews none itself, for a
server may be slow to answer; it lets a few others do that. It lives through no fork, and ends when
it is idle.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from clustercache._sync.helper import await_end
from clustercache.caching.background import Background

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("clustercache.cache")
_IDLE: Final = 10.0
"""Seconds that the thread stays without anything to keep."""
_FORKING: Final = 1.0
"""Seconds that it may take to end before a fork."""
_EARLY: Final = 0.1
"""How much too early a renewal may come, as a part of its pause, so that they come together."""


class _Keeping:
    """A lease that is renewed until its block ends."""

    __slots__ = ("due", "pause", "renew", "renewals")

    def __init__(self, renewals: Renewals, pause: float, renew: Callable[[], bool]) -> None:
        self.renewals = renewals
        self.pause = pause
        self.renew = renew
        self.due = math.inf

    def __enter__(self) -> None:
        self.due = monotonic() + self.pause
        self.renewals.add(self)

    def __exit__(self, *_: object) -> None:
        self.renewals.kept.discard(self)

    def once(self) -> None:
        """Renew it now, if its block has not ended; no more if it is lost."""
        if self not in self.renewals.kept:
            return
        try:
            is_held = self.renew()
        except RedisError as error:
            # The next one may come through before the lease is over.
            _log.info("renewal_failed error=%s", type(error).__name__)
            return
        if not is_held:
            self.renewals.kept.discard(self)


class Renewals:
    """Renews leases in time."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._workers = Background(workers=4, queue=1024)
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self.kept: set[_Keeping] = set()
        self._wakes = math.inf
        """When the thread looks again; never, while there is none."""
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._stopping = False

    def keeping(self, lease: float, renew: Callable[[], bool]) -> _Keeping:
        """Return a context manager that renews a lease until its block ends.

        Args:
            lease: Seconds of it; a third is the pause between renewals.
            renew: Returns whether the lease is still held; if not, there is no other. After a
                RedisError there is.
        """
        return _Keeping(self, lease / 3, renew)

    def add(self, keeping: _Keeping) -> None:
        """Look after a lease from now on."""
        with self._changed:
            self.kept.add(keeping)
            if keeping.due < self._wakes:
                self._look_by(keeping.due)

    def _look_by(self, due: float) -> None:
        if self._stopping:
            return  # behind the fork
        if self._thread is not None and self._thread.is_alive():
            self._wakes = due
            self._changed.notify()
            return
        thread = threading.Thread(target=self._run, name="clustercache-leases", daemon=True)
        self._thread = self._last = thread
        try:
            thread.start()
            self._wakes = due
        except RuntimeError as error:  # the interpreter ends, or the system has no more
            self._thread = self._last = None
            _log.warning("renewals_not_started error=%s", type(error).__name__)

    # The thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (due := self._next()) is not None:
            for keeping in due:
                # One whose last renewal is still under way is not taken.
                self._workers.submit(keeping, keeping.once)
            del due

    def _next(self) -> list[_Keeping] | None:
        """Wait until leases are due, and return them; None to end."""
        with self._changed:
            until = monotonic() + _IDLE
            while True:
                now, kept = monotonic(), list(self.kept)
                if self._stopping or (not kept and now >= until):
                    self._thread, self._wakes = None, math.inf
                    return None
                due = [one for one in kept if one.due - one.pause * _EARLY <= now]
                if due:
                    for one in due:
                        one.due = now + one.pause
                    self._wakes = now  # what comes meanwhile is seen before it rests
                    return due
                self._wakes = min([one.due for one in kept], default=until)
                del kept
                self._changed.wait(self._wakes - now)

    # Forks ------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """End the thread, for fork warns while any lives."""
        with self._changed:
            self._stopping = True
            thread = self._last
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FORKING)
            await_end(thread)

    def after_fork_in_parent(self) -> None:
        """Start the thread again, where there are leases."""
        with self._changed:
            self._stopping = False
            self._wakes = math.inf
            if self.kept:
                self._look_by(min(one.due for one in list(self.kept)))

    def after_fork_in_child(self) -> None:
        """Begin anew: the leases are the parent's."""
        self._begin()


RENEWALS = Renewals()
os.register_at_fork(
    before=RENEWALS.before_fork,
    after_in_parent=RENEWALS.after_fork_in_parent,
    after_in_child=RENEWALS.after_fork_in_child,
)
