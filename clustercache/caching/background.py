"""Work that nobody waits for, or not for long: a few threads of one cache.

They start when there is work and end when there is none. They hold up neither the interpreter's end
nor a fork: idle ones are joined before it, and a child begins with none.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from clustercache._sync.helper import await_end

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

Around: TypeAlias = "Callable[[], AbstractContextManager[object]]"
"""Returns what work runs inside of, such as a framework's context."""

_log = logging.getLogger("clustercache.cache")
_IDLE: Final = 10.0
"""Seconds that a thread waits for work."""
_CLOSING: Final = 1.0
"""Seconds that work under way may take when all is closed."""
_FORKING: Final = 1.0
"""Seconds that idle threads may take to end."""


class _Job(NamedTuple):
    run: Callable[[], object]
    key: Hashable = None
    future: Future[Any] | None = None


class Background:
    """Runs work in threads, so many at a time, each with a copy of its giver's context.

    Args:
        workers: Threads, at most.
        queue: How much may wait for one of them.
        around: Called for each piece of work, which runs inside of what it returns.
    """

    def __init__(self, workers: int = 4, *, queue: int = 64, around: Around | None = None) -> None:
        """Start nothing yet."""
        self._workers = workers
        self._limit = workers + queue
        self._around = around or nullcontext
        self._closed = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._keys: set[Hashable] = set()
        self._threads: set[threading.Thread] = set()
        self._busy: set[threading.Thread] = set()
        self._idle = 0
        self._stopping = False

    def submit(self, key: Hashable, work: Callable[[], object]) -> bool:
        """Run work while nobody waits; return False if it was not taken.

        It is not while the same key's is under way, nor if too much waits. An error is logged.
        """
        run = partial(copy_context().run, self._alone, work)
        with self._changed:
            if key in self._keys or not self._add(_Job(run, key)):
                return False
            self._keys.add(key)
            return True

    def start(self, work: Callable[[], T]) -> Future[T] | None:
        """Run work that somebody may wait for; return None if too much waits already.

        Closing cancels what has not begun.
        """
        future: Future[T] = Future()
        run = partial(copy_context().run, self._awaited, future, work)
        with self._changed:
            return future if self._add(_Job(run, future=future)) else None

    def _alone(self, work: Callable[[], object]) -> None:
        try:
            with self._around():
                work()
        except BaseException as error:  # noqa: BLE001 - the thread has more to do
            _log.warning("background_failed error=%s", type(error).__name__)

    def _awaited(self, future: Future[T], work: Callable[[], T]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            with self._around():
                result = work()
        except BaseException as error:  # noqa: BLE001 - for whoever waits
            future.set_exception(error)
            del future  # the error knows this frame
        else:
            future.set_result(result)

    # Threads ----------------------------------------------------------------------------------

    def _add(self, job: _Job) -> bool:
        if self._closed or len(self._jobs) + len(self._busy) >= self._limit:
            return False
        self._jobs.append(job)
        if len(self._jobs) <= self._idle:
            self._changed.notify()
        elif not self._grow() and not self._threads and not self._stopping:
            self._jobs.pop()
            return False
        return True

    def _grow(self) -> bool:
        if self._stopping or len(self._threads) >= self._workers:
            return False
        thread = threading.Thread(target=self._run, name="clustercache-cache", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter ends, or the system has no more
            self._threads.discard(thread)
            _log.warning("background_not_started error=%s", type(error).__name__)
            return False
        return True

    def _run(self) -> None:
        me = threading.current_thread()
        while (job := self._next(me)) is not None:
            try:
                job.run()
            finally:
                self._done(me, job)
            del job  # it keeps what it was made of

    def _next(self, me: threading.Thread) -> _Job | None:
        with self._changed:
            if not self._jobs and not self._stopping:
                self._idle += 1
                try:
                    self._changed.wait_for(lambda: self._jobs or self._stopping, _IDLE)
                finally:
                    self._idle -= 1
            # One that forks, and goes on in the child, is not the child's.
            if self._stopping or not self._jobs or me not in self._threads:
                self._threads.discard(me)
                return None
            self._busy.add(me)
            return self._jobs.popleft()

    def _done(self, me: threading.Thread, job: _Job) -> None:
        with self._changed:
            self._busy.discard(me)
            if job.future is None:
                self._keys.discard(job.key)

    # Ends -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take nothing more, forget what waits, and wait a second for what is under way."""
        with self._changed:
            self._closed = self._stopping = True
            left, threads = list(self._jobs), list(self._threads)
            self._jobs.clear()
            self._changed.notify_all()
        for job in left:
            if job.future is not None:
                job.future.cancel()
                job.future.set_running_or_notify_cancel()  # `wait` knows nothing of it before
        _join(threads, _CLOSING)

    def before_fork(self) -> None:
        """End idle threads, for fork warns while any lives; others cannot be waited for."""
        with self._changed:
            self._stopping = True
            idle = list(self._threads - self._busy)
            self._changed.notify_all()
        for thread in _join(idle, _FORKING):
            await_end(thread)

    def after_fork_in_parent(self) -> None:
        """Go on with what waits."""
        with self._changed:
            self._stopping = self._closed
            for _ in self._jobs:
                self._grow()

    def after_fork_in_child(self) -> None:
        """Begin anew: what waits, or is under way, is the parent's."""
        self._begin()
        self._stopping = self._closed


def _join(threads: list[threading.Thread], seconds: float) -> list[threading.Thread]:
    """Wait for threads to end; return those that did."""
    until = monotonic() + seconds
    others = [one for one in threads if one is not threading.current_thread()]
    for thread in others:
        thread.join(max(until - monotonic(), 0.0))
    return [one for one in others if not one.is_alive()]


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _before_fork() -> None:
    for background in list(_all):
        background.before_fork()


def _after_fork_in_parent() -> None:
    for background in list(_all):
        background.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for background in list(_all):
        background.after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
