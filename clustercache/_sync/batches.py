"""Several requests at once: one write to each node before any reply is read."""

from __future__ import annotations

import select
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core.commands import Safety
from clustercache._core.decisions import Event, Trouble
from clustercache._request import Failed
from clustercache._sync.connection import NoReply, NotSent, Refused, Silent
from clustercache._sync.pool import PoolFull, Retired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._request import Request
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.executor import Executor
    from clustercache._sync.pool import Pool


_Lease = tuple["Pool", "Connection", list[int]]


class Batches:
    """Runs several requests at once, on one connection per node."""

    def __init__(self, cluster_map: ClusterMap, executor: Executor) -> None:
        """Use this map; what fails in a batch is run again by itself by `executor`."""
        self._map = cluster_map
        self._executor = executor

    def run_all(self, requests: Sequence[Request]) -> list[Any]:
        """Return each request's reply, or the exception it ended in.

        All nodes get their share in one write before the first reply is read; replies are read as
        they come. What fails is run again by itself.
        """
        if len(requests) == 1:
            return [self._executor.captured(requests[0])]
        replies: dict[int, Any] = {}
        leases: list[_Lease] = []
        try:
            for pool, members in self._by_pool(requests):
                connection = self._lease(pool, requests, members)
                if connection is None:
                    continue
                leases.append((pool, connection, members))
                self._write(leases, requests, replies)
            self._collect(leases, requests, replies)
        finally:
            for pool, connection, _ in leases:
                pool.discard(connection)
        return [
            self._executor.captured(request, replies.get(index))
            if index not in replies or type(replies[index]) is Failed
            else replies[index]
            for index, request in enumerate(requests)
        ]

    def _by_pool(self, requests: Sequence[Request]) -> list[tuple[Pool, list[int]]]:
        """Return the requests' positions by pool, in an order that all threads share.

        A thread that holds one connection and waits for the next cannot deadlock with another.
        """
        self._map.ensure(requests[0].deadline)
        groups: dict[Pool, list[int]] = {}
        slots = self._map.slots
        for index, request in enumerate(requests):
            if request.target is not None:
                pool: Pool | None = self._map.pool_at(request.target)
            else:
                pool = slots[request.slot] if request.slot is not None else None
            if pool is not None and pool.suspicion is None:
                groups.setdefault(pool, []).append(index)
        return sorted(groups.items(), key=lambda group: group[0].address)

    def _lease(
        self, pool: Pool, requests: Sequence[Request], members: Sequence[int]
    ) -> Connection | None:
        """Return a connection, or None: its share of the batch is then run one by one."""
        never = any(requests[index].call.safety is Safety.NEVER for index in members)
        try:
            return pool.lease(requests[0].deadline, peek=never)
        except (NotSent, Refused, PoolFull, Retired):
            return None

    def _write(
        self, leases: list[_Lease], requests: Sequence[Request], replies: dict[int, Any]
    ) -> None:
        """Write the share of the last lease; give the lease up if that fails."""
        pool, connection, members = leases[-1]
        deadline = requests[0].deadline
        patience = min(self._map.config.socket_timeout, max(deadline - monotonic(), 0.001))
        try:
            connection.set_patience(patience)
            connection.send(b"".join([requests[index].data for index in members]), deadline)
        except NotSent:
            pool.discard(connection)
            leases.pop()
            # Only the last command of a broken write is surely incomplete at the server.
            for index in members:
                last = index == members[-1]
                trouble = Trouble.BROKEN_OFF if last else Trouble.NO_REPLY
                replies[index] = Failed(Event(trouble, pool.address))

    def _collect(
        self,
        leases: list[_Lease],
        requests: Sequence[Request],
        replies: dict[int, Any],
    ) -> None:
        """Read the batches' replies in the order in which the nodes answer."""
        poller = select.poll()
        for _, connection, _ in leases:
            poller.register(connection, select.POLLIN)
        patience = int(self._map.config.socket_timeout * 1000)
        while leases:
            ready = {fd for fd, _ in poller.poll(patience)} if len(leases) > 1 else None
            chosen = [e for e in leases if ready is None or e[1].fileno() in ready] or leases[:1]
            for entry in chosen:
                poller.unregister(entry[1])
                leases.remove(entry)
                self._read_batch(*entry, requests, replies)

    def _read_batch(
        self,
        pool: Pool,
        connection: Connection,
        members: list[int],
        requests: Sequence[Request],
        replies: dict[int, Any],
    ) -> None:
        try:
            for index in members:
                request = requests[index]
                reply = self._executor.read(pool, connection, request)
                replies[index] = self._executor.judged(reply, pool)
            connection.set_patience(self._map.config.socket_timeout)
        except (NoReply, Silent) as error:
            pool.discard(connection)
            pool.flush()
            lost = isinstance(error, NoReply)
            trouble = Trouble.NO_REPLY if lost else Trouble.EXPIRED_UNANSWERED
            for index in members:
                replies.setdefault(index, Failed(Event(trouble, pool.address)))
        except BaseException:
            pool.discard(connection)
            raise
        else:
            pool.release(connection)
