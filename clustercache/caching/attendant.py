"""The one thread of a process that hears invalidations while nobody reads.

It starts with the first tracker and ends with the last. It never lives through a fork: it is joined
before, and started again behind; a child's connections are closed, and all that it kept is dropped.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from clustercache._sync.helper import await_end

if TYPE_CHECKING:
    from clustercache.caching.listener import Listener

_log = logging.getLogger("clustercache.near")
_LONGEST = 1.0
"""Seconds until everything is looked at again."""
_SHORTEST = 0.001
_FAILED = 0.1
"""Seconds of rest after an error of our own."""


class Attended(Protocol):
    """A tracker, as far as the thread knows it."""

    @property
    def listeners(self) -> list[Listener]:
        """The connections that it has now."""

    def turn(self, now: float) -> float:
        """Do what is due; return when to look again, in monotonic seconds."""

    def after_fork(self) -> None:
        """Drop all, in a child."""


class Attendant:
    """Reads what comes on tracking connections, and takes the trackers' turns."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._trackers: weakref.WeakSet[Attended] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._stopping = False
        self._poll: select.epoll | None = None
        self._bell = -1

    # For trackers -----------------------------------------------------------------------------

    def attend(self, tracker: Attended) -> None:
        """Take a tracker's turns from now on."""
        with self._lock:
            self._trackers.add(tracker)
            self._start()
            self.ring()

    def leave(self, tracker: Attended) -> None:
        """Take no more turns of a tracker; wait for the thread to end if it was the last."""
        with self._lock:
            self._trackers.discard(tracker)
            thread = None if self._trackers else self._last
            self.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def ring(self) -> None:
        """Let the turns be taken now."""
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def watch(self, descriptor: int) -> None:
        """Begin to wait for a descriptor; it is forgotten when it is closed."""
        if self._poll is not None:
            self._poll.register(descriptor, select.EPOLLIN)

    def mute(self, descriptor: int) -> None:
        """Stop waiting for it, for somebody reads it."""
        self._modify(descriptor, 0)

    def unmute(self, descriptor: int) -> None:
        """Wait for it again."""
        self._modify(descriptor, select.EPOLLIN)

    def _modify(self, descriptor: int, events: int) -> None:
        try:
            if self._poll is not None:
                self._poll.modify(descriptor, events)
        except (OSError, ValueError):
            pass  # it is of an earlier epoll, or closed

    # The thread -------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._stopping or (self._thread is not None and self._thread.is_alive()):
            return
        if not hasattr(select, "epoll"):
            _log.warning("attendant_not_started reason=no_epoll")  # patched away, by gevent say
            return
        if self._poll is None:
            self._poll = select.epoll()
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._poll.register(self._bell, select.EPOLLIN)
        thread = threading.Thread(target=self._run, name="clustercache-near", daemon=True)
        self._thread = self._last = thread
        try:
            thread.start()
        except RuntimeError:
            # Nothing is kept, then, for nobody hears anything: callers ask the servers.
            self._thread = self._last = None
            _log.exception("attendant_not_started")

    def _run(self) -> None:
        poll, bell = self._poll, self._bell
        assert poll is not None  # noqa: S101 - made before the thread
        due = 0.0
        while not self._ends():
            events = poll.poll(min(max(due - monotonic(), _SHORTEST), _LONGEST))
            due = self._serve({descriptor for descriptor, _ in events}, bell)

    def _ends(self) -> bool:
        with self._lock:
            if self._stopping or not self._trackers:
                self._thread = None
                return True
            return False

    def _serve(self, ready: set[int], bell: int) -> float:
        if bell in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(bell)
        trackers = list(self._trackers)
        if ready:
            for listener in [one for tracker in trackers for one in tracker.listeners]:
                if listener.descriptor in ready:
                    _read(listener)
        return min([_turn(tracker, monotonic()) for tracker in trackers], default=0.0)

    # Forks ------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """End the thread, for fork warns while any lives."""
        with self._lock:
            self._stopping = True
            thread = self._last
            self.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
            await_end(thread)

    def after_fork_in_parent(self) -> None:
        """Start the thread again, where there is work."""
        with self._lock:
            self._stopping = False
            if self._trackers:
                self._start()

    def after_fork_in_child(self) -> None:
        """Start anew: the parent's epoll is its own."""
        trackers = list(self._trackers)
        if self._poll is not None:
            self._poll.close()
            os.close(self._bell)
        self._begin()
        for tracker in trackers:
            tracker.after_fork()


def _read(listener: Listener) -> None:
    try:
        listener.ready()
    except Exception:  # noqa: BLE001 - the other connections depend on this thread, too
        _log.exception("attendant_failed")


def _turn(tracker: Attended, now: float) -> float:
    try:
        return tracker.turn(now)
    except Exception:  # noqa: BLE001 - as above
        _log.exception("attendant_failed")
        return now + _FAILED


ATTENDANT = Attendant()
os.register_at_fork(
    before=ATTENDANT.before_fork,
    after_in_parent=ATTENDANT.after_fork_in_parent,
    after_in_child=ATTENDANT.after_fork_in_child,
)
