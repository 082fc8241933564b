"""What was invalidated in this process, so that nobody joins a computation that began before."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLACES: Final = 1024
"""Keys that share one take part in each other's turns, which costs a computation at the worst."""


class Turns:
    """Numbers for each key, which change whenever it is invalidated here; for all threads."""

    __slots__ = ("_all", "_next", "_numbers")

    def __init__(self) -> None:
        self._numbers = [0] * _PLACES
        self._all = 0
        self._next = count(1)  # each number once, so that no change is lost between threads

    def turn(self, keys: Iterable[str]) -> None:
        """Let what is computed of these from now on be apart from what is under way."""
        for key in keys:
            self._numbers[hash(key) % _PLACES] = next(self._next)

    def turn_all(self) -> None:
        """Do so for all keys: any may depend on what was invalidated."""
        self._all = next(self._next)

    def of(self, key: str) -> tuple[int, int]:
        """Return a key's numbers."""
        return self._numbers[hash(key) % _PLACES], self._all
