"""Time limits on a node's answer, which do not count that the loop itself was kept.

When a loop is kept for longer than a limit, what came meanwhile lies unread, and the limit's timer
fires before anybody can look at it: then the loop was slow, not the node. So a timer that fires
late gives back what it is late by, up to its limit once more in all: a loop that is late always
gives up, too.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_KEPT = 0.03
"""Seconds that a loop under load may be late by."""


class Alarm:
    """A timer that can be cancelled, and rings in time that the loop had for others."""

    __slots__ = ("_due", "_loop", "_ring", "_spare", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], object]
    ) -> None:
        """Set it.

        Args:
            loop: Whose time it is.
            seconds: From now.
            ring: What it calls.
        """
        self._loop = loop
        self._spare = seconds
        self._ring = ring
        self._set(seconds)

    def _set(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        late = self._loop.time() - self._due
        back = min(late, self._spare)
        if late < _KEPT or back <= 0:
            self._ring()
            return
        self._spare -= back
        self._set(back)

    def cancel(self) -> None:
        """Let it not ring."""
        self._timer.cancel()


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError where a block takes longer than so many seconds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        alarm = Alarm(loop, seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            alarm.cancel()
