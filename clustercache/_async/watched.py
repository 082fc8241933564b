"""A connection that watches keys: it is kept until EXEC, and the watch is lost with it."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.exchange import exchange
from clustercache._core import wire
from clustercache._core.decisions import Event, Trouble
from clustercache._request import Failed
from clustercache._transaction import unwatched

if TYPE_CHECKING:
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.connection import Connection
    from clustercache._async.executor import Executor
    from clustercache._async.mux import Mux
    from clustercache._request import Exchange, Lease

_ASKING = wire.pack(("ASKING",))
_CLEAN_UP = 1.0
"""Seconds that UNWATCH may take; a connection that needs more is closed."""


class Watched:
    """A leased connection on which a WATCH was sent."""

    _connection: Connection | None = None

    def __init__(self, cluster_map: ClusterMap, executor: Executor, lease: Lease) -> None:
        """Take over the lease.

        Args:
            cluster_map: Whose loop it is.
            executor: Follows what a redirect says of the map.
            lease: The pool, the connection, and whether the slot is on its way to that node.
        """
        self._loop = cluster_map.loop
        self._executor = executor
        self._pool: Mux = lease.pool
        self._connection = lease.connection
        self._asking = lease.asking

    async def send(self, request: Exchange) -> Any:
        """Send on this connection, and return the reply.

        Raises:
            WatchError: The keys cannot be watched any more; nothing was applied.
            OutcomeUnknownError: It was sent and its reply was lost.
            redis.ResponseError: The server's own error.
        """
        began = monotonic()
        try:
            outcome = await self._outcome(request)
        except BaseException:
            self.drop()
            raise
        if type(outcome) is not Failed:
            return outcome
        if outcome.event.trouble is not Trouble.ERROR:
            self.drop()
            self._executor.note(outcome.event, request)
        raise unwatched(outcome, request, monotonic() - began)

    async def _outcome(self, request: Exchange) -> Any:
        connection = self._connection
        if connection is None or connection.closed or self._pool.suspicion is not None:
            return Failed(Event(Trouble.UNREACHABLE, self._pool.address))
        pieces = [_ASKING, *request.pieces] if self._asking else request.pieces
        outcomes = await exchange(connection, pieces, request.command.deadline)
        return request.outcome(outcomes[self._asking :])

    async def end(self, *, executed: bool = False) -> None:
        """Give the connection back; what it watched is forgotten by EXEC, or by UNWATCH."""
        connection = self._connection
        if connection is None:
            return
        try:
            if not executed:
                await connection.call(("UNWATCH",), seconds=_CLEAN_UP)
        except BaseException as error:
            self.drop()
            if not isinstance(error, Exception):
                raise
        else:
            self._connection = None
            self._pool.release(connection)

    def drop(self) -> None:
        """Close the connection, and its watches with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.discard(connection)

    def __del__(self) -> None:
        """Close what a forgotten pipeline left."""
        if self._connection is not None:
            with suppress(RuntimeError):  # its loop was closed
                self._loop.call_soon_threadsafe(self._pool.discard, self._connection)
