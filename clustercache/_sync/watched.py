"""A connection that watches keys: it is kept until EXEC, and the watch is lost with it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.decisions import Event, Trouble
from clustercache._request import NOT_TRIED, Failed
from clustercache._sync.exchange import Share, exchange
from clustercache._transaction import unwatched

if TYPE_CHECKING:
    from clustercache._request import Exchange, Lease
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.executor import Executor
    from clustercache._sync.pool import Pool

_UNWATCH = wire.pack(("UNWATCH",))
_ASKING = wire.pack(("ASKING",))
_CLEAN_UP = 1.0
"""Seconds that UNWATCH may take; a connection that needs more is closed."""


class Watched:
    """A leased connection on which a WATCH was sent."""

    def __init__(
        self, cluster_map: ClusterMap, executor: Executor, slot: int | None, lease: Lease
    ) -> None:
        """Take over the lease.

        Args:
            cluster_map: Told of nodes that are silent.
            executor: Follows what a redirect says of the map.
            slot: Of the watched keys.
            lease: The pool, the connection, and whether the slot is on its way to that node.
        """
        self.slot = slot
        self._map = cluster_map
        self._executor = executor
        self._pool: Pool = lease.pool
        self._connection: Connection | None = lease.connection
        self._asking = lease.asking

    def send(self, request: Exchange) -> Any:
        """Send on this connection, and return the reply.

        Raises:
            WatchError: The keys cannot be watched any more; nothing was applied.
            OutcomeUnknownError: It was sent and its reply was lost.
            redis.ResponseError: The server's own error.
        """
        began = monotonic()
        outcome = self._outcome(request)
        if type(outcome) is not Failed:
            return outcome
        if outcome.event.trouble is not Trouble.ERROR:
            self._drop()
            self._executor.note(outcome.event, request)
        raise unwatched(outcome, request, monotonic() - began)

    def _outcome(self, request: Exchange) -> Any:
        lost = Failed(Event(Trouble.UNREACHABLE, self._pool.address))
        if self._connection is None or self._connection.is_stale():
            return lost
        pieces = [_ASKING, *request.pieces] if self._asking else request.pieces
        share = Share(self._pool, pieces, keeps=True)
        share.take_over(self._connection)
        terms = request.command
        exchange(self._map, [share], terms.deadline, peek=False, decode=terms.decode)
        outcome = request.outcome(share.outcomes[self._asking :])
        return lost if outcome is NOT_TRIED else outcome

    def end(self, *, executed: bool = False) -> None:
        """Give the connection back; what it watched is forgotten by EXEC, or by UNWATCH."""
        connection, self._connection = self._connection, None
        if connection is None or connection.closed:
            return
        try:
            if not executed:
                connection.call("UNWATCH", timeout=_CLEAN_UP)
            connection.set_patience(self._map.config.patience)
        except Exception:  # noqa: BLE001 - it is closed, and so are its watches
            self._pool.discard(connection)
        except BaseException:
            self._pool.discard(connection)
            raise
        else:
            self._pool.release(connection, monotonic())

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.discard(connection)
