"""Callers that wait for one thing, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic


class Turns:
    """A line of callers; `call_next` lets the first of them go on."""

    __slots__ = ("_line", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with nobody."""
        self._loop = loop
        self._line: deque[asyncio.Future[bool]] = deque()

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._line)

    async def wait(self, deadline: float, *, first: bool = False) -> bool:
        """Wait for one's turn, and tell whether it came before `deadline` (monotonic seconds).

        Args:
            deadline: Until when.
            first: Whether to stand before all others: one whose turn came for nothing.
        """
        turn: asyncio.Future[bool] = self._loop.create_future()
        (self._line.appendleft if first else self._line.append)(turn)
        timer = self._loop.call_later(max(deadline - monotonic(), 0.0), _end, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.call_next()  # it was ours, and we have no use for it
            raise
        finally:
            timer.cancel()
            if turn in self._line:
                self._line.remove(turn)

    def call_next(self) -> None:
        """Let the first one go on, if there is one."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(True)
                return

    def call_all(self) -> None:
        """Let all go on."""
        while self._line:
            self.call_next()


def _end(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
