"""What is held for each event loop apart."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each loop; those of closed loops go when another loop comes.

    Args:
        make: Makes it for a loop.
        leave: Ends what no loop goes on with.
    """

    __slots__ = ("_held", "_leave", "_make")

    def __init__(self, make: Callable[[], T], leave: Callable[[T], None]) -> None:
        """Hold nothing yet."""
        self._make = make
        self._leave = leave
        self._held: dict[AbstractEventLoop, T] = {}

    def here(self) -> T:
        """Return the running loop's."""
        held = self._held.get(get_running_loop())
        return self._begin() if held is None else held

    def _begin(self) -> T:
        for loop in list(self._held):
            if loop.is_closed():
                left = self._held.pop(loop, None)
                if left is not None:  # else another thread was faster
                    self._leave(left)
        return self._held.setdefault(get_running_loop(), self._make())
