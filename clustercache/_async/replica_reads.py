"""Reads by a policy: the executor's loop, and split calls, with a shard's candidates in turn.

`decide()` says what follows a trouble, as for any other call. What is added here: while another
node of the shard has not been asked, the next attempt is made there, at once; and a read does not
stay with a node that falls silent, as a write does, which waits for its shard.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.batches import Batches, Share
from clustercache._async.exchange import exchange, fit_for_all
from clustercache._async.executor import NO_CONNECTION, Executor, unsent
from clustercache._async.leases import Retired
from clustercache._async.suspicion import Crowded
from clustercache._core import read_from, wire
from clustercache._core.decisions import Event, Trouble
from clustercache._readers import LOOK, ReadRequest, Spread
from clustercache._request import NOT_TRIED, Failed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from clustercache._async.cluster_map import ClusterMap
    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._core.read_from import ReadFrom
    from clustercache._core.routing import Part
    from clustercache._readers import Choice, Reader, ShardReaders
    from clustercache._request import Command, Exchange

_FACTS = [wire.pack(words) for words in read_from.FACTS]


def _learn(reader: Reader, facts: Sequence[Any]) -> None:
    """Keep what a node said of itself, if it said anything: a refusal is an answer, too."""
    said = [one.error if type(one) is Failed else one for one in facts]
    if None not in said:
        reader.learn(said, monotonic())


class ReadExecutor(Executor):
    """Runs reads on the candidates that their policy allows."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        """Use the readers of this map's shards."""
        super().__init__(cluster_map)
        self._readers = cluster_map.readers

    async def _attempt(self, request: Exchange, target: Address | None, *, asking: bool) -> Any:
        """Send the read once; return its reply or a Failed."""
        if not isinstance(request, ReadRequest) or target is not None:
            if isinstance(request, ReadRequest):
                request.reader = None
            return await super()._attempt(request, target, asking=asking)
        while True:
            await self._map.ensure(request.command.deadline)
            now = monotonic()
            self._readers.look_for_replicas(now)
            candidates = self._readers.candidates(request, now)
            if candidates:
                outcome = await self._send_to(request, candidates[0])
            else:
                outcome = await self._wait_for_one(request)
            if outcome is not NOT_TRIED:
                return outcome

    async def _send_to(self, request: ReadRequest, choice: Choice) -> Any:
        """Return the reply, a Failed, or NOT_TRIED where the candidates changed."""
        shard, reader, guarded = choice
        request.reader = reader
        protects = guarded and reader.is_primary
        if protects and not await shard.gate.enter(request.command.deadline):
            return Failed(Event(Trouble.POOL_FULL, reader.pool.address))
        try:
            outcome = await self._ask(request, reader)
        finally:
            if protects:
                shard.gate.leave()
        shard.review(self._readers.policy, monotonic())
        return outcome

    async def _ask(self, request: ReadRequest, reader: Reader) -> Any:
        pool, deadline = reader.pool, request.command.deadline
        try:
            return await self._exchange(request, reader)
        except Retired:
            late = monotonic() >= deadline
            return Failed(Event(Trouble.EXPIRED, pool.address)) if late else NOT_TRIED
        except NO_CONNECTION as error:
            return unsent(error, pool, deadline)

    async def _exchange(self, request: ReadRequest, reader: Reader) -> Any:
        pool, command, began = reader.pool, request.command, monotonic()
        check = self._readers.check_is_due(reader, request.policy, began)
        pieces = [*_FACTS, *request.pieces] if check else request.pieces
        if self._map.observer.active:
            self._map.observer.sent_to(pool.address)
        measures, begun = pool.lane is not None and not check, pool.let_go_when_silent
        if fit_for_all(pieces, self._map.config, decode=command.decode):
            connection = await pool.shared(command.deadline)
            *facts, outcome = await exchange(connection, pieces, command.deadline, begun)
        else:
            connection = await pool.lease(command.deadline, decode=command.decode)
            try:
                *facts, outcome = await exchange(connection, pieces, command.deadline, begun)
            finally:
                pool.release(connection)
        if measures and type(outcome) is not Failed:
            reader.measured(monotonic() - began)
        if facts:
            _learn(reader, facts)
        return outcome

    async def _wait_for_one(self, request: ReadRequest) -> Any:
        """Wait a moment for a candidate, the primary first of all; return NOT_TRIED or a Failed."""
        shard = self._readers.shard(request.slot or 0)
        if shard is None:
            return Failed(Event(Trouble.UNCOVERED, slot=request.slot))
        if request.tried:
            request.tried.clear()
            return NOT_TRIED
        pool, left = shard.readers[0].pool, request.command.deadline - monotonic()
        if left <= 0:
            return Failed(Event(Trouble.EXPIRED, pool.address))
        suspicion = pool.suspicion
        if suspicion is not None:
            try:
                await suspicion.wait(min(left, LOOK), self._map.config.max_waiting)
            except Crowded:
                return Failed(Event(Trouble.CROWDED, pool.address))
        return NOT_TRIED

    def _weigh(self, decision: Decision, event: Event, request: Exchange) -> Decision:
        """Return what was decided; without a pause if another node is left to ask."""
        if isinstance(request, ReadRequest):
            return self._readers.weigh(decision, event, request, monotonic())
        return decision


class ReadShare(Share):
    """Reads for one node, and what it is asked of itself; given up when it falls silent."""

    __slots__ = ("_began", "_facts", "_reader")

    def __init__(self, reader: Reader, members: list[int], *, check: bool) -> None:
        """Take reads by their places.

        Args:
            reader: The node.
            members: The places.
            check: Whether it is asked for what it knows of itself, too.
        """
        super().__init__(reader.pool)
        self.members = members
        self._reader = reader
        self._facts = _FACTS if check else []
        self._began = 0.0

    def begin(self, data: Sequence[bytes], deadline: float) -> asyncio.TimerHandle | None:
        """Queue the pieces if the node takes them at once; return what ends the waiting."""
        self._began = monotonic()
        timer = super().begin(data, deadline)
        if self._place is not None:
            self.pool.let_go_when_silent(self._place)
        return timer

    def _pieces(self, data: Sequence[bytes]) -> list[bytes]:
        return [*self._facts, *super()._pieces(data)]

    def put(self, came: Sequence[Any], replies: list[Any]) -> bool:
        """Put what came back into `replies`, but for what the node said of itself: that is kept."""
        count = len(self._facts)
        clean = super().put(came[count:], replies)
        if count:
            _learn(self._reader, came[:count])
        elif clean:
            self._reader.measured(monotonic() - self._began)
        return clean


class SplitReads(Batches):
    """Runs the parts of one call, each shard's at one of its candidates; made for it."""

    def __init__(self, executor: ReadExecutor, cluster_map: ClusterMap, policy: ReadFrom) -> None:
        """Use a policy; what fails is run again by itself by `executor`."""
        super().__init__(cluster_map, executor)
        self._readers = cluster_map.readers
        self._policy = policy
        self._by_slot: dict[int, Reader] = {}
        self._turn = 0
        self._entered: list[ShardReaders] = []

    async def run(
        self, command: Command, parts: Sequence[Part], targets: Sequence[Address | None] = ()
    ) -> tuple[list[Any], list[Exception]]:
        """Return each part's reply, or the exception it ended in; and all exceptions."""
        try:
            return await super().run(command, parts, targets)
        finally:
            self._leave()

    def _admits(self, shard: ShardReaders) -> bool:
        entered: bool = shard.gate.enter_now()
        if entered:
            self._entered.append(shard)
        return entered

    def _leave(self) -> None:
        while self._entered:
            self._entered.pop().gate.leave()

    def _shares(
        self,
        parts: Sequence[Part],
        targets: Sequence[Address | None],  # noqa: ARG002 - reads have none
    ) -> tuple[list[Share], bool]:
        """Return the parts' places by node; the executor waits for what nobody can serve."""
        now = monotonic()
        self._readers.look_for_replicas(now)
        spread = Spread(self._readers, self._policy, parts, now, self._admits)
        self._by_slot, self._turn = spread.by_slot, spread.turn
        shares: list[Share] = [
            ReadShare(reader, members, check=self._readers.check_is_due(reader, self._policy, now))
            for reader, members in spread.groups.items()
        ]
        return shares, sum(map(len, spread.groups.values())) == len(parts)

    async def _run_again(
        self,
        command: Command,
        parts: Sequence[Part],
        targets: Sequence[Address | None],
        replies: list[Any],
    ) -> list[Exception]:
        self._leave()  # what is run again takes a place of its own
        return await super()._run_again(command, parts, targets, replies)

    def _request(self, command: Command, part: Part, target: Address | None) -> ReadRequest:  # noqa: ARG002
        return ReadRequest(command, part, self._turn, self._by_slot.get(part[0]))
