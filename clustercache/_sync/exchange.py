"""Several nodes at once: one write to each before any reply is read.

Replies are read in the order of writing: while one node is waited for the others' replies arrive,
and each sleep that is saved is worth several replies. A node that stays silent is put last.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import decisions
from clustercache._core.decisions import Event, Trouble
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Refused, Silent, TooLarge
from clustercache._request import NOT_TRIED, Failed
from clustercache._sync.pool import PoolFull, Retired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.pool import Pool

_TURN = 0.05
"""Seconds that a node gets before the others' replies are read first."""

_INSTANT = 0.005
"""Seconds before the deadline that count as its end: a timeout may come that early."""

_TROUBLES = frozenset({ServerError, Failed})


class Share:
    """What goes to one node in one write, and what came back so far."""

    __slots__ = (
        "_connection",
        "_follows_map",
        "_keeps",
        "_leases",
        "_settled",
        "clean",
        "data",
        "outcomes",
        "pool",
    )

    def __init__(
        self, pool: Pool, data: Sequence[bytes], *, follows_map: bool = True, keeps: bool = False
    ) -> None:
        """Take packed commands for one node.

        Args:
            pool: The node's connections.
            data: The commands.
            follows_map: Whether the node was chosen because it owns the commands' slots.
            keeps: Whether a connection that is in step is kept for `take`.
        """
        self.pool = pool
        self._keeps = keeps
        self._leases = pool
        self._follows_map = follows_map
        self.data = data
        self.outcomes: list[Any] = []
        """For each command its reply, a Failed, or NOT_TRIED."""
        self._settled = False
        self.clean = False
        """Whether every command has a plain reply; known at the end."""
        self._connection: Connection | None = None

    def __len__(self) -> int:
        """How many commands it has."""
        return len(self.data)

    def begin(self, cluster_map: ClusterMap, deadline: float, *, peek: bool) -> None:
        """Lease a connection and write; on failure all outcomes are known at once."""
        pool, count = self.pool, len(self.data)
        if pool.suspicion is not None:
            self.outcomes = [NOT_TRIED] * count
            return
        if cluster_map.observer.active:
            cluster_map.observer.sent_to(pool.address)
        try:
            if self._connection is None:
                self._connection = self._lease(deadline, peek=peek)
            left = max(deadline - monotonic(), 0.001)
            self._connection.set_patience(min(cluster_map.config.socket_timeout, left))
            self._connection.send(b"".join(self.data), deadline)
        except (PoolFull, Retired):
            self.outcomes = [NOT_TRIED] * count
        except Refused as error:
            failed = Failed(decisions.classify(error.error, pool.address), error.error)
            self.outcomes = [failed] * count
        except NotSent as error:
            if self._connection is None and deadline - monotonic() < _INSTANT:
                # The deadline cut the connecting short, which says nothing of the node.
                self.outcomes = [Failed(Event(Trouble.EXPIRED, pool.address))] * count
                return
            if error.silent:
                self._doubt(cluster_map)
            self.outcomes = self._broken_off(error)

    def take_over(self, connection: Connection) -> None:
        """Write on a connection that is leased already."""
        self._connection = connection

    def take(self) -> Connection | None:
        """Return the connection that was kept; it is the caller's from now on."""
        connection, self._connection = self._connection, None
        return connection

    def _lease(self, deadline: float, *, peek: bool) -> Connection:
        return self._leases.lease(deadline, peek=peek)

    def go_on(
        self,
        connection: Connection,
        trouble: NotSent | NoReply | Silent,
        cluster_map: ClusterMap,
        deadline: float,
    ) -> None:
        """Take over a lease on which the only command was sent, and what came of it first."""
        self._connection = connection
        if isinstance(trouble, NotSent):
            self._give_up(Trouble.BROKEN_OFF)
        elif isinstance(trouble, NoReply):
            self._lost(trouble)
        else:
            self._was_silent(cluster_map, deadline, cluster_map.config.patience)

    def _broken_off(self, error: NotSent) -> list[Any]:
        """Tell commands that went out whole, and may be executed, from those that did not."""
        where = self.pool.address
        if self._connection is None:
            return [Failed(Event(Trouble.UNREACHABLE, where))] * len(self.data)
        lost, cut = Failed(Event(Trouble.NO_REPLY, where)), Failed(Event(Trouble.BROKEN_OFF, where))
        ends = accumulate(len(piece) for piece in self.data)
        return [lost if end <= error.sent else cut for end in ends]

    @property
    def unfinished(self) -> bool:
        """Whether replies are still to come."""
        return len(self.outcomes) < len(self.data)

    def arrives(self, seconds: float) -> bool:
        """Tell whether a reply, or the end of the connection, comes within `seconds`."""
        return self._connection is not None and self._connection.readable(seconds)

    def read(
        self, cluster_map: ClusterMap, deadline: float, *, decode: bool, ready: bool = False
    ) -> None:
        """Read replies until all are there, the node has been silent, or the connection is lost."""
        connection = self._connection
        assert connection is not None  # noqa: S101 - only shares that were written are read
        left = max(deadline - monotonic(), 0.001)
        try:
            connection.set_patience(min(cluster_map.config.socket_timeout, left))
            connection.read_many(
                len(self.data), deadline, self.outcomes, decode=decode, ready=ready
            )
        except NoReply as error:
            self._lost(error)
        except Silent:
            self._was_silent(cluster_map, deadline, left)

    def _lost(self, error: NoReply) -> None:
        if isinstance(error, TooLarge):
            self._give_up(Trouble.TOO_LARGE)
            return
        # What is idle was cut off, too: nothing more is to be lost on it.
        self._leases.flush()
        self._give_up(Trouble.NO_REPLY)

    def _was_silent(self, cluster_map: ClusterMap, deadline: float, waited: float) -> None:
        if monotonic() >= deadline:
            self._give_up(Trouble.EXPIRED_UNANSWERED)
        elif waited < cluster_map.config.socket_timeout:
            return  # the deadline is near, which says nothing of the node
        elif not self._doubt(cluster_map) and self._follows_map:
            self._give_up(Trouble.NO_REPLY)  # it lost its slots while it was silent

    def _doubt(self, cluster_map: ClusterMap) -> bool:
        """Suspect the silent node; tell whether its reply is waited for."""
        return cluster_map.suspect(self.pool)

    def _give_up(self, trouble: Trouble) -> None:
        missing = len(self.data) - len(self.outcomes)
        self.outcomes += [Failed(Event(trouble, self.pool.address))] * missing
        self.close()

    def close(self) -> None:
        """Close the connection: it is out of step."""
        if self._connection is not None:
            self._leases.discard(self._connection)
        self._connection = None

    def settle(self, patience: float) -> None:
        """Give the connection back, or close it; turn the server's errors into Failed."""
        if self._settled:
            return
        self._settled = True
        kinds = set(map(type, self.outcomes))
        if self._connection is not None:
            if self.unfinished or Failed in kinds:
                self.close()
            elif not self._keeps:
                self._connection.set_patience(patience)
                self._leases.release(self._connection, monotonic())
                self._connection = None
        self.clean = _TROUBLES.isdisjoint(kinds) and NOT_TRIED not in self.outcomes[:1]
        if ServerError in kinds:
            where = self.pool.address
            self.outcomes = [
                Failed(decisions.classify(outcome, where), outcome)
                if type(outcome) is ServerError
                else outcome
                for outcome in self.outcomes
            ]


def exchange(
    cluster_map: ClusterMap,
    shares: Sequence[Share],
    deadline: float,
    *,
    peek: bool,
    decode: bool = True,
) -> None:
    """Write all shares, then read their replies into their `outcomes`.

    Args:
        cluster_map: Told of nodes that are silent.
        shares: One for each node, in an order that all threads share: one that holds a connection
            and waits for the next cannot deadlock with another.
        deadline: In monotonic seconds.
        peek: Whether a command among them must not be sent twice.
        decode: False gives strings as bytes.
    """
    try:
        for share in shares:
            share.begin(cluster_map, deadline, peek=peek)
    except BaseException:
        for share in shares:
            share.close()
        raise
    finish(cluster_map, shares, deadline, decode=decode)


def finish(
    cluster_map: ClusterMap, shares: Sequence[Share], deadline: float, *, decode: bool = True
) -> None:
    """Read the replies of shares that were written; see `exchange`."""
    try:
        waiting = deque(share for share in shares if share.unfinished)
        passed = 0
        while waiting:
            share = waiting.popleft()
            ready = passed < len(waiting) and share.arrives(_TURN)
            if passed < len(waiting) and not ready:
                # The others' connections are not kept while this node lets us wait.
                passed += 1
                waiting.append(share)
                continue
            passed = 0
            share.read(cluster_map, deadline, decode=decode, ready=ready)
            if share.unfinished:
                waiting.append(share)
            else:
                share.settle(cluster_map.config.patience)
    finally:
        for share in shares:
            share.settle(cluster_map.config.patience)
