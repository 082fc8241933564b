"""Places for replies on a connection: each is a future, and swallows its own reply if need be.

A connection keeps one place for each reply that is to come, in the order of the commands. A caller
that is cancelled, or whose deadline passes, leaves its place behind; the reply ends there, and can
never reach another caller.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from clustercache._core.decisions import Event, Trouble
from clustercache._request import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address

Place = Future
"""Where one reply goes."""


class Replies(Future):  # type: ignore[type-arg]
    """The places of several commands that go out together: the result is a list.

    Attributes:
        pieces: The bytes of each command.
        count: How many there are.
        came: The replies so far.
    """

    def __init__(self, pieces: Sequence[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """Wait for as many replies."""
        super().__init__(loop=loop)
        self.pieces = pieces
        self.count = len(pieces)
        self.came: list[Any] = []

    def end_if_complete(self) -> None:
        """Give the result once the last reply came."""
        if len(self.came) == self.count and not self.done():
            self.set_result(self.came)

    def fill(self, result: Any, count: int | None = None) -> None:
        """Give what is missing, or the next `count` of it, the same result."""
        if not self.done():
            missing = self.count - len(self.came)
            self.came += [result] * (missing if count is None else count)
            self.end_if_complete()


def settle(place: Place[Any], trouble: Trouble, node: Address) -> None:
    """Let a place end in a trouble, unless it has ended already."""
    failed = Failed(Event(trouble, node))
    if type(place) is Replies:
        place.fill(failed)
        return
    with suppress(InvalidStateError):
        place.set_result(failed)


def settle_unsent(place: Place[Any], unsent: int, node: Address) -> None:
    """Let a place end whose last bytes did not go out.

    Args:
        place: It has the bytes of its commands if there are several.
        unsent: How many bytes.
        node: Whose connection was lost.
    """
    if type(place) is not Replies:
        settle(place, Trouble.BROKEN_OFF, node)
        return
    missing = place.count - len(place.came)
    cut, left = 0, unsent
    for piece in reversed(place.pieces):
        if left <= 0 or cut == missing:
            break
        left -= len(piece)
        cut += 1
    place.fill(Failed(Event(Trouble.NO_REPLY, node)), missing - cut)
    place.fill(Failed(Event(Trouble.BROKEN_OFF, node)))


is_done: Callable[[Place[Any]], bool] = Future.done
