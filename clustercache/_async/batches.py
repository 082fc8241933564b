"""A call of several parts: split over the slots of its keys, or sent to many nodes."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.exchange import fit_for_all, judged
from clustercache._core.wire import ServerError
from clustercache._request import NOT_TRIED, Failed, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.executor import Executor
    from clustercache._async.mux import Mux
    from clustercache._async.slots import Replies
    from clustercache._core.address import Address
    from clustercache._core.routing import Part
    from clustercache._request import Command

_TROUBLES = frozenset({ServerError, Failed})


class Share:
    """What goes to one node in one write: pieces by their places in the whole."""

    __slots__ = ("_place", "members", "pool")

    def __init__(self, pool: Mux) -> None:
        """Begin without any."""
        self.pool = pool
        self.members: list[int] = []
        self._place: Replies | None = None

    def begin(self, data: Sequence[bytes], deadline: float) -> asyncio.TimerHandle | None:
        """Queue the pieces if the node takes them at once; return what ends the waiting."""
        lane = self.pool.lane
        if lane is None:
            return None
        self._place = place = lane.send_many([data[index] for index in self.members])
        left = max(deadline - monotonic(), 0.0)
        return asyncio.get_running_loop().call_later(left, lane.expire, place)

    async def finish(self, replies: list[Any]) -> bool:
        """Put what came back into `replies`; tell whether all are plain replies."""
        return self._place is not None and self.put(await self._place, replies)

    def put(self, came: Sequence[Any], replies: list[Any]) -> bool:
        """Put what came back for each piece into `replies`; tell whether all are plain replies."""
        for index, outcome in zip(self.members, came, strict=True):
            replies[index] = outcome
        if _TROUBLES.isdisjoint(map(type, came)):
            return NOT_TRIED not in came[:1]
        node = self.pool.address
        for index in self.members:
            replies[index] = judged(replies[index], node)
        return False

    def drop(self) -> None:
        """Take nobody's place: what is not written will not be."""
        if self._place is not None and not self._place.done():
            self._place.cancel()


async def send_shares(
    shares: Sequence[Share], data: Sequence[bytes], replies: list[Any], deadline: float
) -> bool:
    """Write to all nodes, then take their replies; tell whether all are there, and plain.

    Args:
        shares: One for each node.
        data: All pieces.
        replies: Where each piece's reply, or Failed, goes; what is not sent stays as it is.
        deadline: In monotonic seconds.
    """
    timers = [share.begin(data, deadline) for share in shares]
    try:
        clean = [await share.finish(replies) for share in shares]
    finally:
        for share, timer in zip(shares, timers, strict=True):
            share.drop()
            if timer is not None:
                timer.cancel()
    return all(clean)


class Batches:
    """Runs the parts of a call at once, in one write to each node."""

    def __init__(self, cluster_map: ClusterMap, executor: Executor) -> None:
        """Use this map; what fails in a batch is run again by itself by `executor`."""
        self._map = cluster_map
        self._executor = executor

    async def run(
        self, command: Command, parts: Sequence[Part], targets: Sequence[Address | None] = ()
    ) -> tuple[list[Any], list[Exception]]:
        """Return each part's reply, or the exception it ended in; and all exceptions.

        Args:
            command: The call.
            parts: Its parts.
            targets: For each part the node it is for, where it does not follow its slot.
        """
        data = command.packed(parts)
        await self._map.ensure(command.deadline)
        replies: list[Any] = [NOT_TRIED] * len(parts)
        if fit_for_all(data, self._map.config, decode=command.decode):
            shares, complete = self._shares(parts, targets)
            if self._map.observer.active:
                for share in shares:
                    self._map.observer.sent_to(share.pool.address)
            if await send_shares(shares, data, replies, command.deadline) and complete:
                return replies, []
        return replies, await self._run_again(command, parts, targets, replies)

    def _request(self, command: Command, part: Part, target: Address | None) -> Request:
        return Request(command, part, target)

    async def _run_again(
        self,
        command: Command,
        parts: Sequence[Part],
        targets: Sequence[Address | None],
        replies: list[Any],
    ) -> list[Exception]:
        """Run by itself what has no reply, and return the exceptions that came of it."""
        missing = [
            index
            for index, outcome in enumerate(replies)
            if type(outcome) is Failed or outcome is NOT_TRIED
        ]
        runs = []
        for index in missing:
            first = replies[index] if type(replies[index]) is Failed else None
            request = self._request(command, parts[index], targets[index] if targets else None)
            runs.append(self._executor.captured(request, first))
        for index, reply in zip(missing, await asyncio.gather(*runs), strict=True):
            replies[index] = reply
        return [replies[index] for index in missing if isinstance(replies[index], Exception)]

    def _shares(
        self, parts: Sequence[Part], targets: Sequence[Address | None]
    ) -> tuple[list[Share], bool]:
        """Return the parts' places by node; parts without an owner are left out, which is told."""
        groups: dict[Mux | None, Share] = {}
        find, slots = groups.get, self._map.slots
        for index, part in enumerate(parts):
            pool = slots[part[0]]
            if targets and (target := targets[index]) is not None:
                pool = self._map.pool_at(target)
            if pool is None:
                continue
            share = find(pool)
            if share is None:
                share = groups[pool] = Share(pool)
            share.members.append(index)
        complete = sum(len(share.members) for share in groups.values()) == len(parts)
        return list(groups.values()), complete
