"""Callers that wait for one thing, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from time import monotonic


class Turns:
    """A line of callers; `call_next` lets the first of them go on."""

    __slots__ = ("_line", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with nobody."""
        self._loop = loop
        # By its key each leaves at once: in a list, many who wait would look for their places.
        self._line: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

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
        self._line[turn] = None
        if first:
            self._line.move_to_end(turn, last=False)
        timer = self._loop.call_later(max(deadline - monotonic(), 0.0), _end, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.call_next()  # it was ours, and we have no use for it
            raise
        finally:
            timer.cancel()
            self._line.pop(turn, None)

    def call_next(self) -> None:
        """Let the first one go on, if there is one."""
        while self._line:
            turn, _ = self._line.popitem(last=False)
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
