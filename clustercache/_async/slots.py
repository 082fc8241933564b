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
        sizes: The bytes of each command.
        came: The replies so far.
    """

    def __init__(self, sizes: Sequence[int], loop: asyncio.AbstractEventLoop) -> None:
        """Wait for as many replies."""
        super().__init__(loop=loop)
        self.sizes = sizes
        self.came: list[Any] = []

    def set_result(self, result: Any) -> None:
        """Take the next reply."""
        self.came.append(result)
        if len(self.came) == len(self.sizes):
            super().set_result(self.came)

    def fill(self, result: Any) -> None:
        """Give all that is missing the same result."""
        if not self.done():
            self.came += [result] * (len(self.sizes) - len(self.came))
            super().set_result(self.came)


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
        place: It has the sizes of its commands if there are several.
        unsent: How many bytes.
        node: Whose connection was lost.
    """
    if type(place) is not Replies:
        settle(place, Trouble.BROKEN_OFF, node)
        return
    missing = len(place.sizes) - len(place.came)
    cut, left = 0, unsent
    for size in reversed(place.sizes):
        if left <= 0 or cut == missing:
            break
        left -= size
        cut += 1
    if not place.done():
        lost = Failed(Event(Trouble.NO_REPLY, node))
        broken = Failed(Event(Trouble.BROKEN_OFF, node))
        for outcome in [lost] * (missing - cut) + [broken] * cut:
            place.set_result(outcome)


is_done: Callable[[Place[Any]], bool] = Future.done
