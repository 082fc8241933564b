"""Two reads of one key in one write: what a session's load is, on the plain path only."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Silent

if TYPE_CHECKING:
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool


def read_pair(
    cluster_map: ClusterMap, slot: int, data: bytes, deadline: float
) -> tuple[Any, Any] | None:
    """Return two replies; None where anything was not plain: ask by a pipeline then.

    Args:
        cluster_map: Knows who owns the slot; told if it is silent.
        slot: Of the key.
        data: Both commands, packed. They are reads, for they may be sent again.
        deadline: In monotonic seconds; at least a connection's patience away.
    """
    try:
        pool: Any = cluster_map.slots[slot]
        if pool.suspicion is not None:
            return None
        connection = pool.idle.pop()
    except (LookupError, AttributeError):
        return None  # nobody is known to own the slot, or no connection is idle
    connection.leased = True
    try:
        replies = _exchanged(cluster_map, pool, connection, data, deadline)
    except BaseException:
        pool.discard(connection)
        raise
    if replies is None:
        pool.discard(connection)
        return None
    pool.release(connection, monotonic())
    return replies if ServerError not in map(type, replies) else None


def _exchanged(
    cluster_map: ClusterMap, pool: Pool, connection: Connection, data: bytes, deadline: float
) -> tuple[Any, Any] | None:
    if connection.has_surplus():
        return None
    try:
        return connection.exchange(data, deadline), connection.read(deadline)
    except NotSent:
        return None
    except NoReply:
        pool.flush()  # as what is idle was cut off, too
    except Silent:
        cluster_map.suspect(pool)
    return None
