"""A node's connections that one caller has to itself, until they are given back."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, cast

from clustercache._async.connection import Connection
from clustercache._async.renewal import Renewal
from clustercache._async.turns import Turns
from clustercache._handshake import for_probes

if TYPE_CHECKING:
    import asyncio
    import ssl

    from clustercache._async.mux import Mux
    from clustercache._async.slots import Replies
    from clustercache._async.suspicion import Suspicion
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig


class Full(Exception):  # noqa: N818 - an event; the shell raises PoolTimeoutError from it
    """There was no room until the deadline."""


class Retired(Exception):  # noqa: N818
    """The node left the cluster, or the client was closed: route again."""


class Doubted(Retired):
    """The node is suspected: wait for its shard instead."""


class Leases:
    """The part of a `Mux` that is not about the connection which all callers share.

    Attributes:
        suspicion: What is awaited while the node is doubted.
        retired: Whether the node left, or the client was closed.
    """

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
        *,
        target: Address,
        readonly: bool = False,
    ) -> None:
        """Open nothing yet; see `Mux`."""
        self.address = address
        self.suspicion: Suspicion | None = None
        self.retired = False
        self._config = config
        self._tls = tls
        self._loop = loop
        self._target = target
        self._readonly = readonly
        self._shared: Connection | None = None
        self._leasing = Turns(loop)
        self._everyone: set[Connection] = set()
        self._idle: list[Connection] = []
        self._beginning = 0
        self._renewal: Renewal | None = None

    def _refuse_if_unusable(self) -> None:
        if self.retired:
            raise Retired
        if self.suspicion is not None:
            raise Doubted

    async def _new_connection(self, seconds: float, *, decode: bool = True) -> Connection:
        renewal, owner = self._renewal, cast("Mux", self)
        connection = await Connection.open(
            self._target,
            self._config if decode else for_probes(self._config),
            self._tls,
            self._loop,
            seconds=seconds,
            readonly=self._readonly,
            owner=owner,
            known_as=self.address,
        )
        self._everyone.add(connection)
        if self._renewal is not None and self._renewal is not renewal:
            self._renewal.renew(connection)  # it may have come in with the former credentials
        return connection

    async def lease(self, deadline: float, *, decode: bool = True) -> Connection:
        """Return a connection that nobody else has, until it is given back or discarded.

        Args:
            deadline: Until when to wait, in monotonic seconds.
            decode: False for one whose replies stay bytes, whatever the configuration.

        Raises:
            NotSent, Refused: It could not be opened.
            Full, Retired, Doubted: See there.
        """
        while True:
            self._refuse_if_unusable()
            if self._idle and decode:
                return self._idle.pop()
            if self._leased + self._beginning < self._config.max_connections:
                break
            if not await self._leasing.wait(deadline):
                raise Full
        self._beginning += 1
        try:
            left = max(deadline - monotonic(), 0.001)
            seconds = min(self._config.socket_connect_timeout, left)
            connection = await self._new_connection(seconds, decode=decode)
        except BaseException:
            self._leasing.call_next()
            raise
        finally:
            self._beginning -= 1
        if self.retired:  # meanwhile: who ended the connections did not see this one
            self.discard(connection)
            raise Retired
        if not decode:
            connection.use_once()
        return connection

    @property
    def _leased(self) -> int:
        return len(self._everyone) - (self._shared is not None)

    def release(self, connection: Connection) -> None:
        """Take a connection back; one that is not in step is closed."""
        if connection.closed or connection.outstanding or self.retired or self.suspicion:
            self.discard(connection)
        else:
            connection.patient = False
            if self._renewal is not None:
                self._renewal.given_back(connection)
            self._idle.append(connection)
            self._leasing.call_next()

    def discard(self, connection: Connection) -> None:
        """Close a connection."""
        connection.lose()

    def renew(self, login: bytes) -> tuple[Renewal, list[Replies]]:
        """Authenticate all connections anew, those in use when they are given back.

        Args:
            login: The AUTH command, packed.

        Returns:
            What knows of refusals, and the answers that are to come.
        """
        renewal = self._renewal = Renewal(cast("Mux", self), login, self._config.socket_timeout)
        free = [*self._idle, *([self._shared] if self._shared is not None else [])]
        renewal.later(self._everyone.difference(free))
        return renewal, [renewal.renew(connection) for connection in free]
