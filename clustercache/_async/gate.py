"""What protects a primary from the reads of its replicas, when these are gone."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from clustercache._async.turns import Turns

if TYPE_CHECKING:
    import asyncio


class Gate:
    """A number of places for reads; waiting for one ends with the caller's deadline."""

    __slots__ = ("_line", "_places", "_taken")

    def __init__(self, places: int, loop: asyncio.AbstractEventLoop) -> None:
        """Allow so many reads at a time."""
        self._places = places
        self._taken = 0
        self._line = Turns(loop)

    def enter_now(self) -> bool:
        """Take a place if one is free and nobody waits for it; tell whether that was so."""
        free = self._taken < self._places and not self._line
        self._taken += free
        return free

    async def enter(self, deadline: float) -> bool:
        """Take a place, and tell whether there was one before `deadline` (monotonic seconds)."""
        my_turn = False
        while self._taken >= self._places or (self._line and not my_turn):
            if monotonic() >= deadline:
                return False
            my_turn = await self._line.wait(deadline, first=my_turn)
        self._taken += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._line.call_next()
