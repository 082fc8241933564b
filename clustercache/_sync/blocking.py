"""Blocking commands: on connections of their own, for as long as it takes, but never deaf.

A node keeps such a call waiting without a word, which looks like a node that is gone. So whoever
waits sends it a PING by an ordinary connection every now and then, one of all that wait for it;
silence then is suspicion, as for any call. A connection that the host has forgotten is found by
TCP's keep-alive.
"""

from __future__ import annotations

import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.decisions import Event, Trouble
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, Silent
from clustercache._request import NOT_TRIED, Failed, Request
from clustercache._sync.exchange import Share, exchange
from clustercache._sync.executor import ASKING, Executor
from clustercache._sync.pool import Retired
from clustercache.exceptions import ClosedError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._request import Exchange
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool

_PING = wire.pack(("PING",))
_LOOK_EVERY = 3
"""Times socket_timeout that a node may keep everyone waiting before it is asked for a sign."""
_KEEP_ALIVE = 5
"""Seconds of silence after which the kernel asks the other host's."""
_UNHEARD = frozenset(
    {Trouble.UNREACHABLE, Trouble.NO_REPLY, Trouble.EXPIRED, Trouble.EXPIRED_UNANSWERED}
)


class Blocking(Executor):
    """Runs calls that block, each on a connection of its own."""

    def run(self, request: Exchange, first: Failed | None = None) -> Any:
        """Return the reply to a request, or raise what `decide()` says.

        Raises:
            NoClusterError: No seed gave the topology within the configuration's deadline, which
                holds for this although the call itself may wait for ever.
            ClosedError: The client was closed meanwhile.
        """
        soon = monotonic() + self._map.config.deadline
        self._map.ensure(min(soon, request.command.deadline))
        try:
            return super().run(request, first)
        except OutcomeUnknownError as error:
            if not self._map.closed:
                raise
            msg = "the client was closed while the call waited: what it took, if anything, is lost"
            facts = request.facts(None) | {"attempts": error.attempts, "applied": "maybe"}
            raise ClosedError(msg, **facts) from error

    def _share(self, request: Exchange, pool: Pool, *, asking: bool, follows_map: bool) -> Share:
        assert isinstance(request, Request)  # noqa: S101 - nothing else is run here
        command, (slot, words, places) = request.whole, request.part
        assert command.wait is not None  # noqa: S101 - a call that cannot block is not run here
        began = command.deadline - command.limits.deadline
        told = command.wait.left(monotonic() - began, command.limits.deadline)
        (data,) = command.packed([(slot, command.wait.apply(words, told), places)])
        seconds = command.wait.seconds if told is None else told
        quiet = math.inf if seconds == 0 else seconds or 0.0
        before = [(ASKING, 0.0)] if asking else []
        return Vigil(pool, [*before, (data, quiet)], follows_map=follows_map)


class Vigil(Share):
    """Commands for one node whose replies may be long in coming."""

    __slots__ = ("_quiet",)

    def __init__(
        self, pool: Pool, commands: Sequence[tuple[bytes, float]], *, follows_map: bool
    ) -> None:
        """Take packed commands, each with the seconds that its reply may take by right.

        Args:
            pool: The node's ordinary connections.
            commands: Wire data and seconds.
            follows_map: Whether the node was chosen because it owns the commands' slots.
        """
        super().__init__(pool, [data for data, _ in commands], follows_map=follows_map)
        self._leases = pool.apart()
        self._quiet = [quiet for _, quiet in commands]

    def begin(self, cluster_map: ClusterMap, deadline: float, *, peek: bool) -> None:  # noqa: ARG002 - always
        """Do what `Share.begin` does; a place is not waited for as long as the call may last."""
        soon = min(deadline, monotonic() + cluster_map.config.deadline)
        super().begin(cluster_map, soon, peek=True)
        gone = self.pool.suspicion is not None or self._leases.retired
        if NOT_TRIED in self.outcomes[:1] and not gone and monotonic() >= soon:
            self.outcomes = [Failed(Event(Trouble.POOL_FULL, self.pool.address))] * len(self)

    def _lease(self, deadline: float, *, peek: bool) -> Connection:
        connection = super()._lease(deadline, peek=peek)
        # Whoever closes the client marks the pool first and wakes its connections then: this one
        # may have been too young for that.
        if self._leases.retired:
            self._leases.discard(connection)
            raise Retired
        connection.keep_alive(_KEEP_ALIVE)
        return connection

    def read(
        self,
        cluster_map: ClusterMap,
        deadline: float,
        *,
        decode: bool,
        ready: bool = False,  # noqa: ARG002 - it is read in its own time
    ) -> None:
        """Read replies until all are there, one is an error, or the connection is lost."""
        while self.unfinished:
            self._hear(cluster_map, deadline, self._quiet[len(self.outcomes)], decode=decode)
            missing = len(self) - len(self.outcomes)
            if missing and isinstance(self.outcomes[-1], ServerError):
                # What follows was to go with what was refused.
                self.outcomes += [NOT_TRIED] * missing
                self.close()

    def _hear(
        self, cluster_map: ClusterMap, deadline: float, quiet: float, *, decode: bool
    ) -> None:
        """Read one reply, or give up."""
        patience, looked = cluster_map.config.socket_timeout, monotonic()
        due, doubted = looked + quiet + patience, False
        while True:
            if self._heard(patience, deadline, decode=decode):
                return
            now, lost = monotonic(), False
            if now >= deadline:
                self._give_up(Trouble.EXPIRED_UNANSWERED)
                return
            if self.pool.suspicion is not None:
                continue
            if now >= due:
                # Late. A node that was doubted for it and is well again has forgotten the call.
                lost = (doubted and quiet > 0) or not self._doubt(cluster_map)
                doubted = True
            elif now - looked > _LOOK_EVERY * patience:
                lost, looked = not self._is_there(cluster_map), monotonic()
            if lost:
                self._give_up(Trouble.NO_REPLY)
                return

    def _heard(self, patience: float, deadline: float, *, decode: bool) -> bool:
        """Tell whether a reply came within `patience`, or will not come any more."""
        connection = self._connection
        assert connection is not None  # noqa: S101 - only shares that were written are read
        try:
            connection.set_patience(max(min(patience, deadline - monotonic()), 0.001))
            self.outcomes.append(connection.read(deadline, decode=decode))
        except NoReply as error:
            self._lost(error)
        except Silent:
            return False
        return True

    def _doubt(self, cluster_map: ClusterMap) -> bool:
        """Begin to doubt the node; False if it has lost its slots, so that no reply will come."""
        return cluster_map.suspect(self.pool) or not self._follows_map

    def _is_there(self, cluster_map: ClusterMap) -> bool:
        """Ask the node for a sign of life, unless another call did lately."""
        apart, patience = self._leases, cluster_map.config.socket_timeout
        now = monotonic()
        if now - apart.looked_at < _LOOK_EVERY * patience:
            return True
        apart.looked_at = now
        share = Share(self.pool, [_PING], follows_map=self._follows_map)
        exchange(cluster_map, [share], now + 1.5 * patience, peek=True)
        sign = share.outcomes[0]
        heard = type(sign) is not Failed or sign.event.trouble not in _UNHEARD
        return heard or self._doubt(cluster_map)
