"""Leases that are renewed while their holders work, by timers of the running loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger("clustercache.cache")


class arenewing:  # noqa: N801 - it is called as a function is
    """Renew a lease until the block ends; an asynchronous context manager.

    Args:
        lease: Seconds of it; a third is the pause between renewals.
        renew: Returns whether the lease is still held; if not, there is no other renewal. After a
            RedisError there is.
    """

    __slots__ = ("_due", "_loop", "_pause", "_renew", "_task", "_timer")

    def __init__(self, lease: float, renew: Callable[[], Awaitable[bool]]) -> None:
        """Wait for nothing yet."""
        self._pause = lease / 3
        self._renew = renew
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + self._pause
        self._timer = self._loop.call_at(self._due, self._begin)

    async def __aexit__(self, *_: object) -> None:
        """End, and wait for the end of a renewal that is under way."""
        self._timer.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._pause)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._once())

    async def _once(self) -> None:
        try:
            is_held = await self._renew()
        except RedisError as error:
            # The next one may come through before the lease is over.
            _log.info("renewal_failed error=%s", type(error).__name__)
            is_held = True
        except Exception as error:  # noqa: BLE001 - whoever works is not to suffer for it
            _log.warning("renewal_failed error=%s", type(error).__name__)
            is_held = True
        if is_held:
            self._due = max(self._due + self._pause, self._loop.time())
            self._timer = self._loop.call_at(self._due, self._begin)
