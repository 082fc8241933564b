"""Waiting for replies that may be long in coming, without being deaf to the node's end."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.exchange import judged
from clustercache._async.executor import NO_CONNECTION
from clustercache._async.leases import Retired
from clustercache._async.slots import settle
from clustercache._blocking import LOOK_EVERY, PING, is_sign
from clustercache._core.decisions import Trouble
from clustercache._events import NotSent
from clustercache._request import NOT_TRIED, Failed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.connection import Connection
    from clustercache._async.mux import Mux
    from clustercache._async.slots import Place


class Vigil:
    """One call on a connection of its own."""

    __slots__ = ("_deadline", "_follows_map", "_map", "_patience", "_pool")

    def __init__(
        self, cluster_map: ClusterMap, pool: Mux, deadline: float, *, follows_map: bool
    ) -> None:
        """Wait for a node.

        Args:
            cluster_map: Told of its silence.
            pool: Its ordinary connections.
            deadline: In monotonic seconds.
            follows_map: Whether the node was chosen because it owns the call's slot.
        """
        self._map = cluster_map
        self._pool = pool
        self._deadline = deadline
        self._follows_map = follows_map
        self._patience = cluster_map.config.socket_timeout

    async def exchange(
        self, connection: Connection, commands: Sequence[tuple[bytes, float]]
    ) -> list[Any]:
        """Return what came back for each command, until one failed; NOT_TRIED for what follows it.

        Args:
            connection: A lease.
            commands: Wire data, and the seconds that the reply may take by right. They go out in
                one write, with nothing between them.
        """
        connection.patient = True
        places = [connection.send_many([data]) for data, _ in commands]
        outcomes: list[Any] = []
        for place, (_, quiet) in zip(places, commands, strict=True):
            outcomes.append(await self._outcome(connection, place, quiet))
            if type(outcomes[-1]) is Failed:
                break
        return outcomes + [NOT_TRIED] * (len(commands) - len(outcomes))

    async def _outcome(self, connection: Connection, place: Place[Any], quiet: float) -> Any:
        """Wait for one reply, or give up."""
        looked = monotonic()
        due, doubted = looked + quiet + self._patience, False
        while not await self._ends(place):
            now, lost = monotonic(), False
            if now >= self._deadline:
                connection.expire(place)
            elif self._pool.suspicion is not None:
                continue
            elif now >= due:
                # Late. A node that was doubted for it and is well again has forgotten the call.
                lost = (doubted and quiet > 0) or not self._doubt()
                doubted = True
            elif now - looked > LOOK_EVERY * self._patience:
                looked = now
                lost = not await self._is_there(place)
            if lost:
                settle(place, Trouble.NO_REPLY, connection.address)
        (outcome,) = place.result()
        return judged(outcome, connection.address)

    async def _ends(self, place: Place[Any]) -> bool:
        """Tell whether a place ends within a while."""
        if not place.done():
            left = max(self._deadline - monotonic(), 0.0)
            await asyncio.wait({place}, timeout=min(self._patience, left))
        return place.done()

    def _doubt(self) -> bool:
        """Begin to doubt the node; False if it has lost its slots, so that no reply will come."""
        return self._map.suspect(self._pool) or not self._follows_map

    async def _is_there(self, place: Place[Any]) -> bool:
        """Ask the node for a sign of life, unless another call did lately."""
        now = monotonic()
        if now - self._pool.looked_at < LOOK_EVERY * self._patience:
            return True
        self._pool.looked_at = now
        limit = now + 1.5 * self._patience
        try:
            connection = await self._pool.shared(limit)
        except (Retired, *NO_CONNECTION) as error:
            return not isinstance(error, NotSent) or self._doubt()
        sign = connection.send(PING)
        left = max(limit - monotonic(), 0.0)
        await asyncio.wait({place, sign}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        heard = place.done() or (sign.done() and is_sign(sign.result()))
        return heard or self._doubt()
