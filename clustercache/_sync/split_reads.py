"""Reads of several slots by a policy: each shard's keys go to one of its candidates."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._readers import ReadRequest, Spread
from clustercache._sync.batches import Batches
from clustercache._sync.replica_reads import ReadExecutor, ReadShare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.read_from import ReadFrom
    from clustercache._core.routing import Part
    from clustercache._readers import Reader, ShardReaders
    from clustercache._request import Command
    from clustercache._sync.exchange import Share
    from clustercache._sync.gate import Gate, Place
    from clustercache._sync.pool import Pool
    from clustercache._sync.readers import Readers


class SplitReads(Batches):
    """Runs the parts of one call; made for it."""

    def __init__(self, readers: Readers, executor: ReadExecutor, policy: ReadFrom) -> None:
        """Use a policy; what fails is run again by itself by `executor`."""
        super().__init__(readers.map, executor)
        self._readers = readers
        self._policy = policy
        self._by_address: dict[Address, Reader] = {}
        self._by_slot: dict[int, Reader] = {}
        self._turn = 0
        self._places: list[tuple[Gate, Place]] = []

    def run(
        self, command: Command, parts: Sequence[Part], targets: Sequence[Address | None] = ()
    ) -> tuple[list[Any], list[Exception]]:
        """Return each part's reply, or the exception it ended in; and all exceptions."""
        try:
            return super().run(command, parts, targets)
        finally:
            self._leave()

    def _leave(self) -> None:
        while self._places:
            gate, place = self._places.pop()
            gate.leave(place)

    def _by_pool(
        self,
        parts: Sequence[Part],
        targets: Sequence[Address | None],  # noqa: ARG002 - reads have none
    ) -> list[tuple[Pool, list[int]]]:
        """Return the parts' positions by pool; the executor waits for what nobody can serve."""
        now = monotonic()
        self._readers.look_for_replicas(now)
        spread = Spread(self._readers, self._policy, parts, now, self._admits)
        self._by_slot, self._turn = spread.by_slot, spread.turn
        self._by_address = {reader.pool.address: reader for reader in spread.groups}
        pools = [(reader.pool, members) for reader, members in spread.groups.items()]
        return sorted(pools, key=lambda group: group[0].address)

    def _admits(self, shard: ShardReaders) -> bool:
        place = shard.gate.enter(monotonic())
        if place is not None:
            self._places.append((shard.gate, place))
        return place is not None

    def _share(self, pool: Pool, data: Sequence[bytes]) -> Share:
        reader = self._by_address[pool.address]
        check = self._readers.check_is_due(reader, self._policy, monotonic())
        return ReadShare(self._readers, reader, data, check=check)

    def _run_again(
        self,
        command: Command,
        parts: Sequence[Part],
        targets: Sequence[Address | None],
        replies: list[Any],
    ) -> list[Exception]:
        self._leave()  # what is run again takes a place of its own
        return super()._run_again(command, parts, targets, replies)

    def _request(self, command: Command, part: Part, target: Address | None) -> ReadRequest:  # noqa: ARG002
        return ReadRequest(command, part, self._turn, self._by_slot.get(part[0]))
