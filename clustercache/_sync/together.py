"""Several reads at one node in one write: what loads of sessions and cached values are, mostly."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool


def read_together(
    cluster_map: ClusterMap, slots: Sequence[int], data: bytes, deadline: float
) -> list[Any] | None:
    """Return the replies; None where anything was not plain: ask by a pipeline then.

    Args:
        cluster_map: Knows who owns the slots; told if it is silent.
        slots: Of each command's key; one node has to own all.
        data: The commands, packed. They are reads, for they may be sent again.
        deadline: In monotonic seconds; at least a connection's patience away.
    """
    try:
        owners = cluster_map.slots
        pool: Any = owners[slots[0]]
        if pool.suspicion is not None or any(owners[slot] is not pool for slot in slots):
            return None
        connection = pool.idle.pop()
    except (LookupError, AttributeError):
        return None  # nobody is known to own the slot, or no connection is idle
    connection.leased = True
    try:
        replies = _exchanged(cluster_map, pool, connection, data, len(slots), deadline)
    except BaseException:
        pool.discard(connection)
        raise
    if replies is None:
        pool.discard(connection)
        return None
    pool.release(connection, monotonic())
    return replies if ServerError not in map(type, replies) else None


def _exchanged(  # noqa: PLR0917 - what is sent by whom
    cluster_map: ClusterMap,
    pool: Pool,
    connection: Connection,
    data: bytes,
    count: int,
    deadline: float,
) -> list[Any] | None:
    if connection.has_surplus():
        return None
    try:
        replies = [connection.exchange(data, deadline)]
        replies += [connection.read(deadline) for _ in range(count - 1)]
    except NotSent:
        return None
    except NoReply:
        pool.flush()  # as what is idle was cut off, too
    except Silent:
        cluster_map.suspect(pool)
    else:
        return replies
    return None
