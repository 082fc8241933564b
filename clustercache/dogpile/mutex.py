"""The lock that whoever makes a value holds, among threads and processes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from dogpile.cache.api import CacheMutex
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from clustercache.caching.cache import Cache

_log = logging.getLogger("clustercache.cache")


class Mutex(CacheMutex):
    """One holder at a time; dogpile.cache gives one object to all threads that want a key.

    So threads wait for each other in the process, and only one of them asks the server. Where that
    cannot be asked, each process goes on alone, at once from the second time on. The holder may
    release it in another thread.
    """

    def __init__(self, cache: Cache, name: str, timeout: float) -> None:
        """Hold nothing yet.

        Args:
            cache: Whose servers have the lock.
            name: Which one.
            timeout: Seconds after which it is free again, whatever became of its holder.
        """
        self._cache = cache
        self._name = name
        self._timeout = timeout
        self._local = threading.Lock()
        self._held: Any = None

    def acquire(self, wait: bool = True) -> bool:  # noqa: FBT001, FBT002 - dogpile's
        """Take the lock, and tell whether one has it.

        Args:
            wait: Whether to wait until it is free.
        """
        if not self._local.acquire(blocking=wait):
            return False
        is_ours = False
        try:
            is_ours = self._take(wait=wait)
        finally:
            if not is_ours:
                self._local.release()
        return is_ours

    def _take(self, *, wait: bool) -> bool:
        if self._is_away():
            return True
        lock = self._lock(None if wait else 0)
        try:
            if not lock.acquire():
                return False
        except RedisError as error:
            if self._cache.client is not None:
                self._cache._way.heard([self._key], [error])  # noqa: SLF001 - ours too
            _log.warning("lock_not_taken error=%s", type(error).__qualname__)
            return True
        self._held = lock
        return True

    def _is_away(self) -> bool:
        """Tell whether its server did not answer a moment ago, and is being probed."""
        if self._cache.client is None:
            return False
        gate = self._cache._way.gate  # noqa: SLF001 - ours too
        return gate.tripped and not gate.admits(self._key)

    @property
    def _key(self) -> str:
        return f"{self._cache.settings.namespace}#lock:{self._name}"

    def release(self) -> None:
        """Give the lock back; one that took too long has lost it by now, which is no error."""
        lock, self._held = self._held, None
        try:
            if lock is not None:
                lock.release()
        except RedisError as error:
            _log.warning("lock_not_released error=%s", type(error).__qualname__)
        finally:
            self._local.release()

    def locked(self) -> bool:
        """Tell whether anybody has it, as far as is known."""
        if self._local.locked():
            return True
        try:
            return bool(self._lock(0).locked())
        except RedisError:
            return False

    def _lock(self, blocking_timeout: float | None) -> Any:
        cache = self._cache
        if cache.client is None:
            return cache.lock(self._name, self._timeout, blocking_timeout)
        return cache.client.lock(
            self._key,
            timeout=self._timeout,
            blocking_timeout=blocking_timeout,
            thread_local=False,
        )
