"""A call of several parts: split over the slots of its keys, or sent to many nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._request import NOT_TRIED, Failed, Request
from clustercache._sync.exchange import Share, exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.routing import Part
    from clustercache._request import Command
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.executor import Executor
    from clustercache._sync.pool import Pool


class Batches:
    """Runs the parts of a call at once, on one connection per node."""

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
        replies: list[Any] = [NOT_TRIED] * len(parts)
        groups = self._by_pool(parts, targets)
        shares = [self._share(pool, [data[i] for i in members]) for pool, members in groups]
        never = command.spec.safety not in command.limits.retry.resend
        exchange(self._map, shares, command.deadline, peek=never, decode=command.decode)
        for (_, members), share in zip(groups, shares, strict=True):
            for index, outcome in zip(members, share.outcomes, strict=False):
                replies[index] = outcome
        if sum(map(len, shares)) == len(parts) and all(share.clean for share in shares):
            return replies, []
        return replies, self._run_again(command, parts, targets, replies)

    def _share(self, pool: Pool, data: Sequence[bytes]) -> Share:
        return Share(pool, data)

    def _request(self, command: Command, part: Part, target: Address | None) -> Request:
        return Request(command, part, target)

    def _run_again(
        self,
        command: Command,
        parts: Sequence[Part],
        targets: Sequence[Address | None],
        replies: list[Any],
    ) -> list[Exception]:
        """Run by itself what has no reply, and return the exceptions that came of it."""
        errors: list[Exception] = []
        for index, outcome in enumerate(replies):
            if type(outcome) is Failed or outcome is NOT_TRIED:
                first = outcome if type(outcome) is Failed else None
                request = self._request(command, parts[index], targets[index] if targets else None)
                replies[index] = self._executor.captured(request, first)
                if isinstance(replies[index], Exception):
                    errors.append(replies[index])
        return errors

    def _by_pool(
        self, parts: Sequence[Part], targets: Sequence[Address | None]
    ) -> list[tuple[Pool, list[int]]]:
        """Return the parts' positions by pool, by address; parts without an owner are left out."""
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
        owned = [(pool, members) for pool, members in groups.items() if pool is not None]
        return sorted(owned, key=lambda group: group[0].address)
