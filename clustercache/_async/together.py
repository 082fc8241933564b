"""Several reads in one turn of the loop, each on its node's shared connection: the plain path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from clustercache._core import wire
from clustercache._core.slots import key_slot
from clustercache._core.wire import ServerError
from clustercache._request import Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap

_TROUBLES: Final = frozenset({ServerError, Failed})


async def read_together(cluster_map: ClusterMap, keys: Sequence[str]) -> list[Any] | None:
    """Return what keys hold; None where anything was not plain: ask in another way then.

    Args:
        cluster_map: Knows who owns the keys' slots, on the running loop.
        keys: Few, for they go to the connections that all callers share.
    """
    slots: Any = cluster_map.slots
    try:
        lanes = [slots[key_slot(key.encode())].lane for key in keys]
    except (LookupError, AttributeError):
        return None
    if None in lanes:
        return None
    commands: list[tuple[Any, ...]] = [("GET", key) for key in keys]
    pairs = zip(lanes, commands, strict=True)
    places = [lane.send(wire.pack(words)) for lane, words in pairs]
    replies = [await place for place in places]
    return None if any(type(reply) in _TROUBLES for reply in replies) else replies
