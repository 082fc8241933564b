"""How a talk with a node ends other than with a reply; `exchange` tells `decide()` of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clustercache._core.wire import ServerError


class NotSent(Exception):  # noqa: N818 - an event, not an error of the package
    """The server cannot have got all of the data: only the first `sent` bytes went out.

    `silent` tells a node that took no more data from one that is not there.
    """

    def __init__(self, reason: str, *, silent: bool = False, sent: int = 0) -> None:
        super().__init__(reason)
        self.silent = silent
        self.sent = sent


class NoReply(Exception):  # noqa: N818
    """The command was sent and the connection was lost before the whole reply came."""


class TooLarge(NoReply):
    """The reply is larger than a caller wants to keep in memory; the rest of it was not read."""


class Silent(Exception):  # noqa: N818
    """Nothing came for `patience` seconds. The connection is still in step: read again or close."""


class Refused(Exception):  # noqa: N818
    """The server answered the handshake with an error (`error`), to the command `step`."""

    def __init__(self, error: ServerError, step: str = "") -> None:
        super().__init__(error.text)
        self.error = error
        self.step = step
