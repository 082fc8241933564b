"""Several parts at once: one write to each node before any reply is read."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core.commands import Safety
from clustercache._core.decisions import Event, Trouble
from clustercache._core.wire import ServerError
from clustercache._request import Failed, Request
from clustercache._sync.connection import NoReply, NotSent, Refused, Silent
from clustercache._sync.pool import PoolFull, Retired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.routing import Part
    from clustercache._request import Command
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.executor import Executor
    from clustercache._sync.pool import Pool


_TROUBLES = frozenset({ServerError, Failed})


class Share:
    """What goes to one node in one write: parts by their position, and the replies read so far."""

    __slots__ = ("connection", "members", "pool", "replies")

    def __init__(self, pool: Pool, connection: Connection, members: list[int]) -> None:
        """Begin with no reply."""
        self.pool = pool
        self.connection = connection
        self.members = members
        self.replies: list[Any] = []


class Batches:
    """Runs several parts at once, on one connection per node."""

    def __init__(self, cluster_map: ClusterMap, executor: Executor) -> None:
        """Use this map; what fails in a batch is run again by itself by `executor`."""
        self._map = cluster_map
        self._executor = executor

    def run(
        self, command: Command, parts: Sequence[Part], targets: Sequence[Address | None] = ()
    ) -> tuple[list[Any], list[Exception]]:
        """Return each part's reply, or the exception it ended in; and all exceptions.

        Args:
            command: The call.
            parts: Its parts.
            targets: For each part the node it is for, where it does not follow its slot.
        """
        data = command.packed(parts)
        self._map.ensure(command.deadline)
        replies: list[Any] = [None] * len(parts)
        left: dict[int, Failed | None] = {}
        shares: list[Share] = []
        try:
            for pool, members in self._by_pool(parts, targets):
                connection = self._lease(pool, command)
                if pool is None or connection is None:
                    left.update(dict.fromkeys(members))
                    continue
                share = Share(pool, connection, members)
                shares.append(share)
                self._write(share, command, b"".join([data[index] for index in members]))
            self._collect(shares, command)
        finally:
            for share in shares:
                self._settle(share, replies, left)
        for index, first in left.items():
            request = Request(command, parts[index], targets[index] if targets else None)
            replies[index] = self._executor.captured(request, first)
        return replies, [replies[index] for index in left if isinstance(replies[index], Exception)]

    def _by_pool(
        self, parts: Sequence[Part], targets: Sequence[Address | None]
    ) -> list[tuple[Pool | None, list[int]]]:
        """Return the parts' positions by pool, in an order that all threads share.

        A thread that holds one connection and waits for the next cannot deadlock with another.
        """
        groups: dict[Pool | None, list[int]] = {}
        find, slots = groups.get, self._map.slots
        for index, part in enumerate(parts):
            pool = slots[part[0]]
            if targets and (target := targets[index]) is not None:
                pool = self._map.pool_at(target)
            members = find(pool)
            if members is None:
                groups[pool] = [index]
            else:
                members.append(index)
        return sorted(groups.items(), key=lambda group: group[0].address if group[0] else ())

    def _lease(self, pool: Pool | None, command: Command) -> Connection | None:
        """Return a connection, or None: the node's share is then run part by part."""
        if pool is None or pool.suspicion is not None:
            return None
        try:
            return pool.lease(command.deadline, peek=command.spec.safety is Safety.NEVER)
        except (NotSent, Refused, PoolFull, Retired):
            return None

    def _write(self, share: Share, command: Command, data: bytes) -> None:
        left = max(command.deadline - monotonic(), 0.001)
        try:
            share.connection.set_patience(min(self._map.config.socket_timeout, left))
            share.connection.send(data, command.deadline)
        except NotSent:
            # Only the last command of a broken write is surely incomplete at the server.
            lost, broken = (
                Failed(Event(trouble, share.pool.address))
                for trouble in (Trouble.NO_REPLY, Trouble.BROKEN_OFF)
            )
            share.replies = [*([lost] * (len(share.members) - 1)), broken]

    def _collect(self, shares: Sequence[Share], command: Command) -> None:
        """Read the shares' replies; a node that is silent is turned to again after the others.

        They are read in the order of writing: while one is waited for the others arrive, and each
        sleep that is saved is worth several replies.
        """
        waiting = deque(share for share in shares if len(share.replies) < len(share.members))
        while waiting:
            share = waiting.popleft()
            count = len(share.members)
            left = max(command.deadline - monotonic(), 0.001)
            try:
                share.connection.set_patience(min(self._map.config.socket_timeout, left))
                share.connection.read_many(
                    count, command.deadline, share.replies, decode=command.decode
                )
            except (NoReply, Silent) as error:
                trouble = self._trouble(share.pool, error, command)
                if trouble is None:
                    waiting.append(share)
                    continue
                failed = Failed(Event(trouble, share.pool.address))
                share.replies += [failed] * (count - len(share.replies))

    def _trouble(self, pool: Pool, error: Exception, command: Command) -> Trouble | None:
        """Return what a share's reading ended in, or None where it goes on."""
        if isinstance(error, NoReply):
            pool.flush()
            return Trouble.NO_REPLY
        if monotonic() >= command.deadline:
            return Trouble.EXPIRED_UNANSWERED
        return None if self._map.suspect(pool) else Trouble.NO_REPLY

    def _settle(self, share: Share, replies: list[Any], left: dict[int, Failed | None]) -> None:
        """Give the connection back, and sort the replies from what is to be run again."""
        broken = len(share.replies) < len(share.members)
        for index, reply in zip(share.members, share.replies, strict=False):
            replies[index] = reply
        if not _TROUBLES.isdisjoint(map(type, share.replies)):
            for index, reply in zip(share.members, share.replies, strict=False):
                if type(reply) is ServerError:
                    left[index] = self._executor.judged(reply, share.pool)
                elif type(reply) is Failed:
                    left[index] = reply
                    broken = True
        if broken:
            share.pool.discard(share.connection)
        else:
            share.connection.set_patience(self._map.config.patience)
            share.pool.release(share.connection, monotonic())
