"""One request, from its first attempt to its reply: the loop that asks `decide()`.

The shell decides nothing here. An attempt ends in a reply or in a `Failed`; `decide()` says what
follows, and this module does it.
"""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import decisions, wire
from clustercache._core.commands import Safety
from clustercache._core.decisions import Attempt, Event, Trouble, Verb
from clustercache._core.wire import ServerError
from clustercache._failures import failure
from clustercache._limits import jitter
from clustercache._request import Failed, merged
from clustercache._sync.connection import NoReply, NotSent, Refused, Silent
from clustercache._sync.pool import Pool, PoolFull, Retired, Stale
from clustercache.exceptions import PoolTimeoutError, ShardUnavailableError

if TYPE_CHECKING:
    from clustercache._core.address import Address
    from clustercache._request import Request
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection

_ASKING = wire.pack(("ASKING",))


class Executor:
    """Runs requests on the map's pools."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Use this map; it may learn its topology later."""
        self._map = cluster_map

    def run(self, request: Request, first: Failed | None = None) -> Any:
        """Return the reply to a request, or raise what `decide()` says.

        Args:
            request: What to send.
            first: What a first attempt, made elsewhere, ended in.
        """
        history: list[Attempt] = []
        target, asking, outcome = request.target, False, first
        while True:
            started = monotonic()
            if outcome is None:
                outcome = self._attempt(request, target, asking=asking)
                if type(outcome) is not Failed:
                    return outcome
            decision = decisions.decide(
                outcome.event,
                request.call,
                history,
                backoff=(
                    request.command.limits.retry.backoff_base,
                    request.command.limits.retry.backoff_cap,
                ),
                jitter=jitter(),
            )
            if decision.verb is Verb.SPLIT:
                singles = request.by_key()
                replies = [self.captured(single) for single in singles]
                errors = [reply for reply in replies if isinstance(reply, Exception)]
                return merged(request.command, [one.part for one in singles], replies, errors)
            if decision.verb is not Verb.SEND:
                raise failure(decision.verb, outcome, request, history, monotonic() - started)
            history.append(Attempt(outcome.event, monotonic() - started))
            self._obey(decision, outcome.event, request)
            target, asking, outcome = decision.to or request.target, decision.asking, None
            if monotonic() >= request.command.deadline:
                outcome = Failed(Event(Trouble.EXPIRED, target))

    def _obey(self, decision: decisions.Decision, event: Event, request: Request) -> None:
        pool = self._map.pools.get(event.node) if event.node else None
        if event.to is not None and pool is not None:
            pool.redirects += 1
        if decision.patch and event.slot is not None and event.to is not None:
            self._map.patch(event.slot, event.to)
        if decision.reconnect and event.to is not None:
            self._map.pool_at(event.to).flush()
        if decision.refresh:
            self._map.helper.refresh(*([event.to] if event.to else []))
        if decision.suspect and pool is not None and self._map.suspect(pool):
            return  # the next attempt waits for the node's recovery or its successor
        if decision.pause:
            time.sleep(max(0.0, min(decision.pause, request.command.deadline - monotonic())))

    def _attempt(self, request: Request, target: Address | None, *, asking: bool) -> Any:
        """Send the request once; return its reply or a Failed."""
        while True:
            pool = self._route(request, target)
            if type(pool) is not Pool:
                return pool
            try:
                connection = pool.lease(
                    request.command.deadline, peek=request.call.safety is Safety.NEVER
                )
            except Retired:
                self._map.ensure(request.command.deadline)
                if target is not None:
                    return Failed(Event(Trouble.UNREACHABLE, target))
                continue
            except PoolFull:
                return self._full(pool, request)
            except NotSent:
                return Failed(Event(Trouble.UNREACHABLE, pool.address))
            except Refused as error:
                return Failed(decisions.classify(error.error, pool.address), error.error)
            return self._talk(pool, connection, request, asking=asking)

    def _route(self, request: Request, target: Address | None) -> Any:
        """Return the pool to use once its node is well, or a Failed."""
        self._map.ensure(request.command.deadline)
        if target is not None:
            return self._map.pool_at(target)
        while True:
            slot = request.slot
            pool = self._map.any_primary() if slot is None else self._map.slots[slot]
            if pool is None:
                self._map.ensure(request.command.deadline)
                return Failed(Event(Trouble.UNCOVERED, slot=slot))
            suspicion = pool.suspicion
            if suspicion is None:
                return pool
            try:
                over = suspicion.wait(
                    request.command.deadline - monotonic(), self._map.config.max_waiting
                )
            except OverflowError:
                msg = f"{self._map.config.max_waiting} calls wait for this shard already"
                raise ShardUnavailableError(msg, **request.facts(pool.address)) from None
            if not over:
                return Failed(Event(Trouble.EXPIRED, pool.address))

    def _full(self, pool: Pool, request: Request) -> Failed:
        if pool.suspicion is not None:
            return Failed(Event(Trouble.EXPIRED, pool.address))
        msg = f"all {pool.size} connections to the node stayed in use: raise max_connections"
        raise PoolTimeoutError(msg, **request.facts(pool.address))

    def _talk(self, pool: Pool, connection: Connection, request: Request, *, asking: bool) -> Any:
        left = request.command.deadline - monotonic()
        try:
            connection.set_patience(min(self._map.config.socket_timeout, max(left, 0.001)))
            connection.send(
                _ASKING + request.data if asking else request.data, request.command.deadline
            )
            if asking:
                self.read(pool, connection, request)
        except (NotSent, NoReply) as error:
            return self._finish(pool, connection, request, error)
        except Silent as error:
            # Who read on here would take the reply to ASKING for the command's.
            pool.discard(connection)
            return Failed(Event(self._trouble(pool, error), pool.address))
        except BaseException:
            pool.discard(connection)
            raise
        return self._finish(pool, connection, request, None)

    def _finish(
        self, pool: Pool, connection: Connection, request: Request, trouble: Exception | None
    ) -> Any:
        """Read the reply, unless `trouble` came first, and give the connection back or close it."""
        try:
            if trouble is not None and not isinstance(trouble, Silent):
                raise trouble  # noqa: TRY301 - one place tells what a lease ended in
            if trouble is not None:
                self.silence(pool, connection, request)
            reply = self.read(pool, connection, request)
            connection.set_patience(self._map.config.patience)
        except (NotSent, NoReply, Silent) as error:
            pool.discard(connection)
            return Failed(Event(self._trouble(pool, error), pool.address))
        except BaseException:
            pool.discard(connection)
            raise
        pool.release(connection, monotonic())
        return self.judged(reply, pool)

    def _trouble(self, pool: Pool, error: Exception) -> Trouble:
        if isinstance(error, Silent):
            return Trouble.EXPIRED_UNANSWERED
        if isinstance(error, NoReply):
            # What is idle was cut off, too: nothing more is to be lost on it.
            pool.flush()
            return Trouble.NO_REPLY
        if isinstance(error, NotSent) and error.silent:
            self._map.suspect(pool)
        return Trouble.BROKEN_OFF

    @staticmethod
    def judged(reply: Any, pool: Pool) -> Any:
        """Return the reply, or the Failed that a server's error is."""
        if type(reply) is not ServerError:
            return reply
        return Failed(decisions.classify(reply, pool.address), reply)

    def read(self, pool: Pool, connection: Connection, request: Request) -> Any:
        """Read one reply. A node that stays silent is suspected; the call goes on waiting.

        Raises:
            NoReply: The connection was lost, or the slot has a new owner meanwhile.
            Silent: The deadline passed.
        """
        deadline = request.command.deadline
        while True:
            left = max(deadline - monotonic(), 0.001)
            connection.set_patience(min(self._map.config.socket_timeout, left))
            try:
                return connection.read(deadline, decode=request.command.decode)
            except Silent:
                if monotonic() >= deadline:
                    raise
                self.silence(pool, connection, request)

    def silence(self, pool: Pool, connection: Connection, request: Request) -> None:
        """Suspect a node that did not answer, or raise NoReply if it lost the slot meanwhile."""
        if connection.patience < self._map.config.socket_timeout:
            return  # the deadline is near, which says nothing of the node
        if request.slot is not None and self._map.slots[request.slot] is not pool:
            msg = "the slot moved while the node was silent"
            raise NoReply(msg)
        self._map.suspect(pool)

    def first(
        self, request: Request, pool: Pool, connection: Connection | None, error: Exception
    ) -> Any:
        """Return what a first attempt, made on the direct path, ended in: a reply or a Failed.

        Args:
            request: The request, built after the fact.
            pool: Where it was sent.
            connection: The lease, if it is still in step or has to be closed here.
            error: What came instead of a plain reply.
        """
        if isinstance(error, ServerError):
            return self.judged(error, pool)
        assert connection is not None  # noqa: S101 - only a reply gives its connection back
        if isinstance(error, Stale):
            pool.discard(connection)
            return self._attempt(request, None, asking=False)
        return self._finish(pool, connection, request, error)

    def captured(self, request: Request, first: Failed | None = None) -> Any:
        """Return the reply, or the exception, which the caller weighs with those of other parts."""
        try:
            return self.run(request, first)
        except Exception as error:  # noqa: BLE001
            return error
