"""One request, from its first attempt to its reply: the loop that asks `decide()`.

The shell decides nothing here. An attempt ends in a reply or in a `Failed`; `decide()` says what
follows (see `_course`), and this module makes the attempts and does the waiting.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from clustercache._async.exchange import exchange, fit_for_all
from clustercache._async.leases import Full, Retired
from clustercache._async.suspicion import Crowded
from clustercache._core import decisions, wire
from clustercache._core.decisions import Event, Trouble
from clustercache._course import Course, note
from clustercache._events import NotSent, Refused
from clustercache._request import Failed, Lease, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.connection import Connection
    from clustercache._async.mux import Mux
    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._request import Exchange, Request

ASKING = wire.pack(("ASKING",))
_INSTANT = 0.005
"""Seconds before the deadline that count as its end: a timeout may come that early."""


NO_CONNECTION = (Full, Refused, NotSent)
"""What asking a node's `Mux` for a connection may end in."""


def unsent(error: Exception, pool: Mux, deadline: float) -> Failed:
    """Return what an attempt ended in that found no connection.

    Args:
        error: One of NO_CONNECTION.
        pool: The node's.
        deadline: The call's, in monotonic seconds.
    """
    if isinstance(error, Full):
        return Failed(Event(Trouble.POOL_FULL, pool.address))
    if isinstance(error, Refused):
        return Failed(decisions.classify(error.error, pool.address), error.error)
    # The deadline may have cut the connecting short, which says nothing of the node.
    late = deadline - monotonic() < _INSTANT
    return Failed(Event(Trouble.EXPIRED if late else Trouble.UNREACHABLE, pool.address))


class Executor:
    """Runs requests on one loop's map."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Use this map; it may learn its topology later."""
        self._map = cluster_map

    async def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a request, or raise what `decide()` says.

        Args:
            request: What to send.
            first: What a first attempt, made elsewhere, ended in.
        """
        course, outcome = Course(self._map, request, self._weigh), first
        while True:
            if outcome is None:
                course.begin(monotonic())
                outcome = await self._attempt(request, course.target, asking=course.asking)
                if type(outcome) is not Failed:
                    request.via = course.target
                    return outcome
            pause = course.follow(outcome, monotonic())
            if pause is None:
                return await self._key_by_key(cast("Request", request))
            if pause:
                await asyncio.sleep(pause)
            outcome = course.expired(monotonic())

    def _weigh(self, decision: Decision, event: Event, request: Exchange) -> Decision:  # noqa: ARG002
        """Return what is obeyed of a decision to send again."""
        return decision

    def note(self, event: Event, request: Exchange) -> None:
        """Do what an event asks for apart from sending again: the map, and suspicion."""
        note(self._map, event, request)

    async def _attempt(self, request: Exchange, target: Address | None, *, asking: bool) -> Any:
        """Send the request once; return its reply or a Failed."""
        deadline = request.command.deadline
        while True:
            pool = await self._route(request, target)
            if isinstance(pool, Failed):
                return pool
            try:
                return await self._send(request, pool, asking=asking)
            except Retired:
                if target is not None and pool.retired:
                    return Failed(Event(Trouble.UNREACHABLE, target))
                if monotonic() >= deadline:
                    return Failed(Event(Trouble.EXPIRED, pool.address))
            except NO_CONNECTION as error:
                return unsent(error, pool, deadline)

    async def _send(self, request: Exchange, pool: Mux, *, asking: bool) -> Any:
        command = request.command
        pieces = [ASKING, *request.pieces] if asking else request.pieces
        if self._map.observer.active:
            self._map.observer.sent_to(pool.address)
        if not request.keeps and fit_for_all(pieces, self._map.config, decode=command.decode):
            connection = await pool.shared(command.deadline)
            outcomes = await exchange(connection, pieces, command.deadline)
            return request.outcome(outcomes[asking:])
        connection = await pool.lease(command.deadline, decode=command.decode)
        return await self._on_a_lease(request, pool, connection, pieces, asking=asking)

    async def _on_a_lease(
        self,
        request: Exchange,
        pool: Mux,
        connection: Connection,
        pieces: Sequence[bytes],
        *,
        asking: bool,
    ) -> Any:
        kept = False
        try:
            outcomes = await exchange(connection, pieces, request.command.deadline)
            outcome = request.outcome(outcomes[asking:])
            if request.keeps and type(outcome) is not Failed:
                request.lease, kept = Lease(pool, connection, asking), True
            return outcome
        finally:
            if not kept:
                pool.release(connection)

    async def _route(self, request: Exchange, target: Address | None) -> Mux | Failed:
        """Return what to use, once its node is well."""
        deadline = request.command.deadline
        while not self._map.closed:
            await self._map.ensure(deadline)
            pool = self._chosen(request.slot, target)
            if pool is None:
                return Failed(Event(Trouble.UNCOVERED, slot=request.slot))
            suspicion = pool.suspicion
            if suspicion is None:
                return pool
            try:
                most = self._map.config.max_waiting
                over = await suspicion.wait(deadline - monotonic(), most)
            except Crowded:
                return Failed(Event(Trouble.CROWDED, pool.address))
            if not over:
                return Failed(Event(Trouble.EXPIRED, pool.address))
        return Failed(Event(Trouble.CLOSED))

    def _chosen(self, slot: int | None, target: Address | None) -> Mux | None:
        if target is not None:
            return self._map.pool_at(target)
        return self._map.any_primary() if slot is None else self._map.slots[slot]

    async def _key_by_key(self, request: Request) -> Any:
        """Ask a half-moved slot for each key by itself, and merge."""
        singles = request.by_key()
        replies = await asyncio.gather(*map(self.captured, singles))
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        return merged(request.whole, [one.part for one in singles], replies, errors)

    async def captured(self, request: Request, first: Failed | None = None) -> Any:
        """Return the reply, or the exception, which the caller weighs with those of other parts."""
        try:
            return await self.run(request, first)
        except Exception as error:  # noqa: BLE001
            return error
