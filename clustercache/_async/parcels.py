"""Many commands for one node, sent where they disturb nobody; and what came of it, whatever it is.

A write of many bytes, or of many commands, takes a connection apart: on the shared one all other
callers' replies would come behind its own, and it alone could fill what may be under way there.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from clustercache._async.exchange import LARGE, exchange
from clustercache._async.mux import Full, Retired
from clustercache._core import decisions
from clustercache._core.decisions import Event, Trouble
from clustercache._events import NotSent, Refused
from clustercache._request import NOT_TRIED, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.mux import Mux

MANY: Final = 1000
"""Commands from which on a write takes a connection apart."""

_INSTANT = 0.005
"""Seconds before the deadline that count as its end: a timeout may come that early."""


def is_small(data: Sequence[bytes]) -> bool:
    """Tell whether commands may go on the connection that all callers share."""
    return len(data) < MANY and sum(map(len, data)) < LARGE


async def send_to(
    known: ClusterMap, pool: Mux, data: Sequence[bytes], deadline: float
) -> list[Any]:
    """Return what came back for each command: its reply, a Failed, or NOT_TRIED.

    Args:
        known: The map.
        pool: What reaches the node.
        data: The commands.
        deadline: In monotonic seconds.
    """
    if known.observer.active:
        known.observer.sent_to(pool.address)
    try:
        if is_small(data):
            return await exchange(await pool.shared(deadline), data, deadline)
        connection = await pool.lease(deadline)
        try:
            return await exchange(connection, data, deadline)
        finally:
            pool.release(connection)
    except (Full, Retired):
        outcome: Any = NOT_TRIED
    except Refused as error:
        outcome = Failed(decisions.classify(error.error, pool.address), error.error)
    except NotSent:
        # The deadline cut the connecting short, which says nothing of the node.
        late = deadline - monotonic() < _INSTANT
        outcome = Failed(Event(Trouble.EXPIRED if late else Trouble.UNREACHABLE, pool.address))
    return [outcome] * len(data)
