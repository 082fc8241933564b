"""A node that does not answer: calls wait here until it is well again or replaced."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clustercache._async.mux import Mux


class Crowded(Exception):  # noqa: N818 - an event; the shell raises ShardUnavailableError from it
    """As many callers as may wait for a node do."""


class Suspicion:
    """One suspected node. `over` is set when it answers again, or is not what it was any more."""

    __slots__ = ("__weakref__", "_waiting", "over", "pool", "replica")

    def __init__(self, pool: Mux, *, replica: bool = False) -> None:
        """Begin to doubt a node: a primary, or a replica that serves reads."""
        self.pool = pool
        self.replica = replica
        self.over = asyncio.Event()
        self._waiting = 0

    async def wait(self, seconds: float, most: int) -> bool:
        """Wait until it is over, and tell whether that came in time.

        Args:
            seconds: How long to wait at most.
            most: How many callers may wait at a time.

        Raises:
            Crowded: As many wait already.
        """
        if self._waiting >= most:
            raise Crowded
        self._waiting += 1
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self.over.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True
