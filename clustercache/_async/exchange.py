"""Commands that go out together on a connection, and what came back for each."""

from __future__ import annotations

from asyncio import get_running_loop
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from clustercache._core import decisions
from clustercache._core.wire import ServerError
from clustercache._request import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._async.connection import Connection
    from clustercache._async.slots import Place
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

LARGE: Final = 1 << 18
"""Bytes from which on a write takes a connection apart: others' commands would wait behind it."""


async def exchange(
    connection: Connection,
    pieces: Sequence[bytes],
    deadline: float,
    begun: Callable[[Place[Any]], None] | None = None,
) -> list[Any]:
    """Return what came back for each piece: its reply, or a Failed.

    Nothing of anybody else's comes between them.

    Args:
        connection: Where they go.
        pieces: Packed commands.
        deadline: Until when they wait, in monotonic seconds.
        begun: Told of the place that they wait for.
    """
    place = connection.send_many(pieces)
    if begun is not None:
        begun(place)
    left = max(deadline - monotonic(), 0.0)
    timer = get_running_loop().call_later(left, connection.expire, place)
    try:
        outcomes: list[Any] = await place
    finally:
        timer.cancel()
    return [judged(outcome, connection.address) for outcome in outcomes]


def judged(outcome: Any, node: Address) -> Any:
    """Return a server's error as a Failed, and anything else as it is."""
    if type(outcome) is ServerError:
        return Failed(decisions.classify(outcome, node), outcome)
    return outcome


def fit_for_all(pieces: Sequence[bytes], config: ClusterConfig, *, decode: bool) -> bool:
    """Tell whether commands may go on the connection that all callers share.

    Args:
        pieces: Packed.
        config: The client's.
        decode: Whether their replies are decoded as the client's are.
    """
    return sum(map(len, pieces)) < LARGE and (decode or not config.decode_responses)
