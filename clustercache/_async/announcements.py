"""What sentinels announce, heard on one connection to each of them.

A failover that an operator asks for leaves the old primary running, and taking writes that are lost
later: no error tells of it, so that somebody has to listen. The loop's callbacks do, and a timer.

Source: "High availability with Sentinel", "Pub/sub messages".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._async.connection import Connection
from clustercache._async.foreign import leave
from clustercache._core import sources, wire
from clustercache._core.wire import ServerError
from clustercache._events import NotSent, Refused
from clustercache._inquiry import DEAF, HEAR_AGAIN, SIGN_OF_LIFE

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Callable

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

    Way = tuple[Address, ClusterConfig, ssl.SSLContext | None]


class Ear:
    """A connection on which one sentinel's announcements come; a lost one is made again."""

    def __init__(
        self,
        way: Way,
        service: str,
        loop: asyncio.AbstractEventLoop,
        news: Callable[[], object],
    ) -> None:
        """Begin to connect.

        Args:
            way: How the sentinel is reached.
            service: What announcements must be about.
            loop: Who listens.
            news: Called when the topology may have changed.
        """
        self._way = way
        self._service = service
        self._loop = loop
        self._news = news
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._opening = loop.create_task(self._open())

    @property
    def hears(self) -> bool:
        """Whether announcements would come."""
        return self._connection is not None

    async def _open(self) -> None:
        target, config, tls = self._way
        try:
            connection = await Connection.open(target, config, tls, self._loop, owner=self)
            try:
                seconds = config.socket_connect_timeout
                replies = await connection.call(*sources.SUBSCRIBE, seconds=seconds)
            except BaseException:
                connection.close()
                raise
        except (NotSent, Refused):
            self._later(HEAR_AGAIN)
            return
        if any(isinstance(reply, ServerError) for reply in replies):
            connection.close()
            self._later(SIGN_OF_LIFE)
            return
        self._connection = connection
        connection.listener = self._heard
        self._later(SIGN_OF_LIFE)
        self._news()  # what was announced before was not heard

    def _later(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._act)

    def _act(self) -> None:
        """Connect again, or ask for a sign of life."""
        if self._connection is None:
            self._opening = self._loop.create_task(self._open())
            return
        place = self._connection.send(wire.pack(("PING",)))
        # An announcement that comes first is where the answer was to be.
        place.add_done_callback(lambda answer: self._heard(answer.result()))
        self._later(SIGN_OF_LIFE)

    def _heard(self, message: Any) -> None:
        if sources.is_news(message, self._service):
            self._news()

    # What the connection tells (see `Owner`) --------------------------------------------------

    def full(self, connection: Connection) -> None:
        """Hear that it takes no more for now."""

    def free(self, connection: Connection) -> None:
        """Hear that it takes more again."""

    def silent(self, connection: Connection) -> None:
        """Hear that replies are due and nothing came for socket_timeout."""
        connection.lose()

    def lost(self, connection: Connection) -> None:
        """Hear that it is closed."""
        if connection is self._connection:
            self._connection = None
            self._later(HEAR_AGAIN)
            self._news()

    def close(self) -> None:
        """Close it for good."""
        self._opening.cancel()
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """Close the socket alone: the loop is closed, or another process's."""
        leave(self._opening)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()


class Announcements:
    """The ears for all sentinels; they open when the topology is known, and close with the map."""

    def __init__(self, cluster_map: ClusterMap, service: str) -> None:
        """Open nothing yet.

        Args:
            cluster_map: What is refreshed when there is news.
            service: What the sentinels call it.
        """
        self._map = cluster_map
        self._service = service
        self._ears: dict[Address, Ear] = {}
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Hear that the map has changed: there may be sentinels that are new."""
        discovery = self._map.discovery
        for address in discovery.sentinels:
            if address not in self._ears:
                way = discovery.way_to_ask(address)
                self._ears[address] = Ear(way, self._service, self._map.loop, self._ask)
        if self._timer is None:
            self._timer = self._map.loop.call_later(DEAF, self._look_round)

    def _look_round(self) -> None:
        """Ask the sentinels where none of them can be heard."""
        self._timer = None
        self.look()
        if not any(ear.hears for ear in self._ears.values()):
            self._ask()

    def _ask(self) -> None:
        self._map.helper.refresh()

    def end(self) -> None:
        """Close everything."""
        if self._timer is not None:
            self._timer.cancel()
        for ear in self._ears.values():
            ear.close()

    def abandon(self) -> None:
        """Close the sockets alone: the loop is closed, or another process's."""
        for ear in self._ears.values():
            ear.abandon()
