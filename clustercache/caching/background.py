"""What is computed while nobody waits for it: few threads, and no long queue.

The threads are daemons, unlike those of `concurrent.futures`: a refresh that hangs does not keep
a program from ending.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from concurrent.futures import Future
from contextlib import nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

log: Final = logging.getLogger("clustercache.cache")
_IDLE: Final = 10.0
"""Seconds after which a thread without work ends."""


class Background:
    """A cache's threads for refreshes; they start with the first and end when there are no more."""

    def __init__(
        self,
        workers: int = 4,
        queue: int = 64,
        around: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            workers: Threads at a time.
            queue: Computations that wait for one; more are refused.
            around: Returns a context manager that each computation runs inside.
        """
        self._workers = workers
        self._waiting = queue
        self._around = around or nullcontext
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._closed = False
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = self._busy = 0
        self._keys: set[Hashable] = set()

    def submit(self, key: Hashable, work: Callable[[], object]) -> bool:
        """Run something later, unless it is under way or there is too much; tell which.

        Args:
            key: What it is the same by.
            work: Runs in the caller's context; what it raises is logged.
        """
        context = copy_context()

        def run() -> None:
            try:
                context.run(self._inside, work)
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                log.warning("refresh_failed error=%s", type(error).__name__)
            finally:
                with self._lock:
                    self._keys.discard(key)

        with self._lock:
            if key in self._keys or not self._has_room():
                return False
            self._keys.add(key)
            self._enqueue(run)
        return True

    def start(self, work: Callable[[], Any]) -> Future[Any] | None:
        """Return a future of something that is begun, or None where there is too much."""
        future: Future[Any] = Future()
        context = copy_context()

        def run() -> None:
            try:
                result = context.run(self._inside, work)
            except BaseException as error:  # noqa: BLE001 - it is for who waits
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if not self._has_room():
                return None
            self._enqueue(run)
        return future

    def _inside(self, work: Callable[[], Any]) -> Any:
        with self._around():
            return work()

    def _has_room(self) -> bool:
        return not self._closed and self._busy < self._workers + self._waiting

    def _enqueue(self, job: Callable[[], None]) -> None:
        self._busy += 1
        self._queue.put(job)
        if self._threads < min(self._busy, self._workers):
            self._threads += 1
            threading.Thread(target=self._work, name="clustercache-refresh", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self._queue.get(timeout=_IDLE)
            except queue.Empty:
                job = None
            with self._lock:
                if job is None and (self._closed or self._queue.empty()):
                    self._threads -= 1
                    return
            if job is not None:
                try:
                    job()
                finally:
                    with self._lock:
                        self._busy -= 1

    def close(self) -> None:
        """Begin nothing more; what is under way goes on."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._queue.put(None)

    def after_fork(self) -> None:
        """Start anew in a child, which has none of the threads."""
        self._begin()


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for background in list(_all):
        background.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
