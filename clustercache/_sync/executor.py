"""One request, from its first attempt to its reply: the loop that asks `decide()`.

The shell decides nothing here. An attempt ends in a reply or in a `Failed`; `decide()` says what
follows, and this module does it.
"""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from clustercache._core import decisions, wire
from clustercache._core.decisions import Event, Trouble
from clustercache._core.wire import ServerError
from clustercache._course import Course, note
from clustercache._request import NOT_TRIED, Failed, Lease, merged
from clustercache._sync.exchange import Share, exchange, finish
from clustercache._sync.health import Crowded
from clustercache._sync.pool import Stale

if TYPE_CHECKING:
    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._events import NoReply, NotSent, Silent
    from clustercache._request import Exchange, Request
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool

    First = NotSent | NoReply | Silent | Stale | ServerError

ASKING = wire.pack(("ASKING",))


class Executor:
    """Runs requests on the map's pools."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Use this map; it may learn its topology later."""
        self._map = cluster_map

    def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a request, or raise what `decide()` says.

        Args:
            request: What to send.
            first: What a first attempt, made elsewhere, ended in.
        """
        course, outcome = Course(self._map, request, self._weigh), first
        while True:
            if outcome is None:
                course.begin(monotonic())
                outcome = self._attempt(request, course.target, asking=course.asking)
                if type(outcome) is not Failed:
                    request.via = course.target
                    return outcome
            pause = course.follow(outcome, monotonic())
            if pause is None:
                return self._key_by_key(cast("Request", request))
            if pause:
                time.sleep(pause)
            outcome = course.expired(monotonic())

    def _weigh(self, decision: Decision, event: Event, request: Exchange) -> Decision:  # noqa: ARG002
        """Return what is obeyed of a decision to send again."""
        return decision

    def note(self, event: Event, request: Exchange) -> None:
        """Do what an event asks for apart from sending again: the map, and suspicion."""
        note(self._map, event, request)

    def _attempt(self, request: Exchange, target: Address | None, *, asking: bool) -> Any:
        """Send the request once; return its reply or a Failed."""
        command = request.command
        never = request.call.safety not in request.call.resend
        while True:
            pool = self._route(request, target)
            if isinstance(pool, Failed):
                return pool
            share = self._share(request, pool, asking=asking, follows_map=target is None)
            exchange(self._map, [share], command.deadline, peek=never, decode=command.decode)
            outcome = self._came(request, share, asking=asking)
            if outcome is not NOT_TRIED:
                if request.keeps and type(outcome) is not Failed:
                    request.lease = Lease(pool, share.take(), asking)
                return outcome
            if target is not None and pool.retired:
                return Failed(Event(Trouble.UNREACHABLE, target))
            if monotonic() >= command.deadline:
                full = pool.suspicion is None
                trouble = Trouble.POOL_FULL if full else Trouble.EXPIRED
                return Failed(Event(trouble, pool.address))

    def _share(self, request: Exchange, pool: Pool, *, asking: bool, follows_map: bool) -> Share:
        """Return what goes to a node for a request."""
        pieces = [ASKING, *request.pieces] if asking else request.pieces
        return Share(pool, pieces, follows_map=follows_map, keeps=request.keeps)

    def _came(self, request: Exchange, share: Share, *, asking: bool) -> Any:
        """Return what came of it."""
        return request.outcome(share.outcomes[asking:])

    def _route(self, request: Exchange, target: Address | None) -> Pool | Failed:
        """Return the pool to use, once its node is well."""
        deadline = request.command.deadline
        while not self._map.closed:
            self._map.ensure(deadline)
            pool = self._chosen(request.slot, target)
            if pool is None:
                return Failed(Event(Trouble.UNCOVERED, slot=request.slot))
            suspicion = pool.suspicion  # the helper may end it meanwhile
            if suspicion is None:
                return pool
            self._map.helper.start()  # whoever began to doubt the node may have been interrupted
            try:
                most = self._map.config.max_waiting
                over = suspicion.wait(deadline - monotonic(), most)
            except Crowded:
                return Failed(Event(Trouble.CROWDED, pool.address))
            if not over:
                return Failed(Event(Trouble.EXPIRED, pool.address))
        return Failed(Event(Trouble.CLOSED))

    def _chosen(self, slot: int | None, target: Address | None) -> Pool | None:
        if target is not None:
            return self._map.pool_at(target)
        return self._map.any_primary() if slot is None else self._map.slots[slot]

    def first(
        self, request: Request, pool: Pool, connection: Connection | None, error: First
    ) -> Any:
        """Return what a first attempt, made on the direct path, ended in: a reply or a Failed.

        Args:
            request: The request, built after the fact.
            pool: Where it was sent.
            connection: The lease, if it is still in step or has to be closed here.
            error: What came instead of a plain reply.
        """
        if isinstance(error, ServerError):
            return Failed(decisions.classify(error, pool.address), error)
        if connection is None or isinstance(error, Stale):
            if connection is not None:
                pool.discard(connection)
            return self._attempt(request, None, asking=False)
        share = self._lone_share(request, pool)
        share.go_on(connection, error, self._map, request.command.deadline)
        finish(self._map, [share], request.command.deadline)
        return share.outcomes[0]

    def _lone_share(self, request: Request, pool: Pool) -> Share:
        return Share(pool, [request.data])

    def _key_by_key(self, request: Request) -> Any:
        """Ask a half-moved slot for each key by itself, and merge."""
        singles = request.by_key()
        replies = [self.captured(single) for single in singles]
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        return merged(request.whole, [one.part for one in singles], replies, errors)

    def captured(self, request: Request, first: Failed | None = None) -> Any:
        """Return the reply, or the exception, which the caller weighs with those of other parts."""
        try:
            return self.run(request, first)
        except Exception as error:  # noqa: BLE001
            return error
