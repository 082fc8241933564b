"""Questions that nodes are asked outside of any call: whole views, and signs of life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from clustercache._async.connection import Connection
from clustercache._async.foreign import leave
from clustercache._core.decisions import Trouble, classify
from clustercache._core.wire import ServerError
from clustercache._events import NotSent, Refused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

PING = (("PING",),)
_GRACE = 1.0
"""Seconds that an answer gets beyond socket_connect_timeout, before a new connection."""


class Probe:
    """One question to one node, asked again and again on one connection, one at a time.

    Attributes:
        asking: The task that asks now, or asked last.
    """

    def __init__(
        self,
        target: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        question: Sequence[tuple[str, ...]],
    ) -> None:
        """Open nothing yet."""
        self._target = target
        self._config = config
        self._tls = tls
        self._question = question
        self._connection: Connection | None = None
        self.asking: asyncio.Task[list[Any] | None] | None = None

    def ask(self) -> asyncio.Task[list[Any] | None]:
        """Ask unless the answer to the last question is still to come; return who asks."""
        if self.asking is None:
            self.asking = asyncio.get_running_loop().create_task(self._ask())
        return self.asking

    def answer(self) -> list[Any] | None:
        """Return the replies if they came since the last time, or None."""
        if self.asking is None or not self.asking.done():
            return None
        asked, self.asking = self.asking, None
        return None if asked.cancelled() else asked.result()

    async def _ask(self) -> list[Any] | None:
        seconds = self._config.socket_connect_timeout + _GRACE
        try:
            if self._connection is None or self._connection.closed:
                loop = asyncio.get_running_loop()
                self._connection = await Connection.open(
                    self._target, self._config, self._tls, loop, seconds=seconds
                )
            return await self._connection.call(*self._question, seconds=seconds)
        except (NotSent, Refused):
            return None

    def abandon(self) -> None:
        """Close this process's end only: what watches it is another's, or gone."""
        leave(self.asking)
        if self._connection is not None:
            self._connection.abandon()

    def close(self) -> None:
        """Stop asking."""
        if self.asking is not None:
            self.asking.cancel()
        if self._connection is not None:
            self._connection.close()
        self.asking = self._connection = None


def is_well(replies: list[Any] | None, node: Address) -> bool:
    """Tell from the answer to PING whether a node serves; LOADING and the like are not well.

    An ACL may refuse PING: that is an answer, too.
    """
    if replies is None or not isinstance(replies[-1], ServerError):
        return replies is not None
    return classify(replies[-1], node).trouble is not Trouble.UNREADY
