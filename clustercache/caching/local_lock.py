"""Locks of a process, where `memory://` stands for the cluster: as redis-py's, as far as used."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

_POLL: Final = 0.01


class LocalLocks:
    """Locks by their names."""

    def __init__(self) -> None:
        """Hold none."""
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def _of(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def lock(self, name: str, blocking_timeout: float | None) -> LocalLock:
        """Return a handle of a lock."""
        return LocalLock(self._of(name), blocking_timeout)

    def alock(self, name: str, blocking_timeout: float | None) -> AsyncLocalLock:
        """Return a handle of the same lock for asyncio."""
        return AsyncLocalLock(self._of(name), blocking_timeout)


class LocalLock:
    """A ``with`` around a lock of the process."""

    def __init__(self, lock: threading.Lock, blocking_timeout: float | None) -> None:
        """Hold nothing yet."""
        self._lock = lock
        self._timeout = -1 if blocking_timeout is None else blocking_timeout

    def acquire(self) -> bool:
        """Wait for the lock; tell whether one has it."""
        return self._lock.acquire(timeout=self._timeout)

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def locked(self) -> bool:
        """Tell whether anybody has it."""
        return self._lock.locked()

    def __enter__(self) -> Self:
        """Take the lock, or raise redis-py's LockError."""
        if not self.acquire():
            raise _refused()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        self.release()


class AsyncLocalLock:
    """An ``async with`` around a lock of the process."""

    def __init__(self, lock: threading.Lock, blocking_timeout: float | None) -> None:
        """Hold nothing yet."""
        self._lock = lock
        self._timeout = blocking_timeout

    async def acquire(self) -> bool:
        """Wait for the lock; tell whether one has it."""
        until = None if self._timeout is None else monotonic() + self._timeout
        while not self._lock.acquire(blocking=False):
            if until is not None and monotonic() >= until:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def release(self) -> None:
        """Give it back."""
        self._lock.release()

    async def locked(self) -> bool:
        """Tell whether anybody has it."""
        return self._lock.locked()

    async def __aenter__(self) -> Self:
        """Take the lock, or raise redis-py's LockError."""
        if not await self.acquire():
            raise _refused()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        await self.release()


def _refused() -> Exception:
    from redis.exceptions import LockError

    return LockError("Unable to acquire lock within the time specified")
