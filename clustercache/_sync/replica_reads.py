"""Reads by a policy: the executor's loop, and split calls, with a shard's candidates in turn.

`decide()` says what follows a trouble, as for any other call. What is added here: while another
node of the shard has not been asked, the next attempt is made there, at once.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import read_from, wire
from clustercache._core.decisions import Event, Trouble
from clustercache._request import NOT_TRIED, Failed, Request
from clustercache._sync.exchange import Share, exchange
from clustercache._sync.executor import Executor
from clustercache._sync.health import Crowded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._core.read_from import ReadFrom
    from clustercache._core.routing import Part
    from clustercache._request import Command, Exchange
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pool import Pool
    from clustercache._sync.readers import Reader, Readers, ShardReaders

_FACTS = [wire.pack(words) for words in read_from.FACTS]
_LOOK = 0.05
"""Seconds after which a call that no node can serve looks for one again."""


class ReadShare(Share):
    """Reads for one node; a silent one is suspected, and what it was asked is asked elsewhere."""

    __slots__ = ("_began", "_facts", "_readers", "reader")

    def __init__(
        self, readers: Readers, reader: Reader, data: Sequence[bytes], *, check: bool = False
    ) -> None:
        """Take packed reads for a node.

        Args:
            readers: Who is told of its silence.
            reader: The node.
            data: The reads.
            check: Whether it is asked for what it knows of itself, too.
        """
        super().__init__(reader.pool, [*_FACTS, *data] if check else data)
        self.reader = reader
        self._readers = readers
        self._facts = len(_FACTS) if check else 0
        self._began: float | None = None

    def begin(self, cluster_map: ClusterMap, deadline: float, *, peek: bool) -> None:
        """Write, and measure the round trip where no connection has to be opened for it."""
        self._began = monotonic() if self.pool.idle and not self._facts else None
        super().begin(cluster_map, deadline, peek=peek)

    def _doubt(self, cluster_map: ClusterMap) -> bool:  # noqa: ARG002
        self._readers.suspect(self.reader)
        return False

    def settle(self, patience: float) -> None:
        """Keep what the node said of itself from the replies."""
        if self._settled:
            return
        super().settle(patience)
        if self._began is not None and self.clean:
            self.reader.measured(monotonic() - self._began)
        if self._facts:
            facts, self.outcomes = self.outcomes[: self._facts], self.outcomes[self._facts :]
            self.data = self.data[self._facts :]
            if len(facts) == self._facts and not any(map(_unanswered, facts)):
                self.reader.learn(facts, monotonic())


def _unanswered(outcome: Any) -> bool:
    return outcome is NOT_TRIED or (isinstance(outcome, Failed) and outcome.error is None)


class ReadRequest(Request):
    """A read with the nodes that it was sent to, in this turn of the candidates."""

    __slots__ = ("policy", "reader", "tried", "turn")

    def __init__(
        self, command: Command, part: Part, readers: Readers, reader: Reader | None = None
    ) -> None:
        """Pack it.

        Args:
            command: The whole call.
            part: One of its parts.
            readers: Whose turns are counted.
            reader: Where a first attempt, made elsewhere, was sent.
        """
        super().__init__(command, part)
        self.policy: ReadFrom = command.limits.read_from
        self.turn = next(readers.turns)
        self.reader = reader
        self.tried: set[Reader] = set()


class _Choice(NamedTuple):
    shard: ShardReaders
    reader: Reader
    guarded: bool


class ReadExecutor(Executor):
    """Runs reads on the candidates that their policy allows."""

    def __init__(self, cluster_map: ClusterMap, readers: Readers) -> None:
        """Use these readers of the map's shards."""
        super().__init__(cluster_map)
        self._readers = readers

    def _candidates(self, request: ReadRequest) -> list[_Choice]:
        """Return whom the policy allows now, best first, but for those that were tried."""
        assert request.slot is not None  # noqa: S101 - what has no key is no read for replicas
        shard = self._readers.shard(request.slot)
        if shard is None:
            return []
        plan = shard.plan(request.policy, monotonic())
        chosen = [shard.readers[at] for at in plan.order(request.turn)]
        return [_Choice(shard, one, plan.guarded) for one in chosen if one not in request.tried]

    def _attempt(self, request: Exchange, target: Address | None, *, asking: bool) -> Any:
        """Send the read once; return its reply or a Failed."""
        if not isinstance(request, ReadRequest) or target is not None:
            if isinstance(request, ReadRequest):
                request.reader = None
            return super()._attempt(request, target, asking=asking)
        while True:
            self._map.ensure(request.command.deadline)
            self._readers.look_for_replicas(monotonic())
            candidates = self._candidates(request)
            outcome = (
                self._send(request, candidates[0]) if candidates else self._wait_for_one(request)
            )
            if outcome is not NOT_TRIED:
                return outcome

    def _send(self, request: ReadRequest, choice: _Choice) -> Any:
        """Return the reply, a Failed, or NOT_TRIED where the candidates changed."""
        shard, reader, guarded = choice
        command, now = request.command, monotonic()
        request.reader = reader
        check = self._readers.check_is_due(reader, request.policy, now)
        share = ReadShare(self._readers, reader, [request.data], check=check)
        place = None
        try:
            if guarded and reader.is_primary:
                place = shard.gate.enter(command.deadline)
                if place is None:
                    return Failed(Event(Trouble.POOL_FULL, reader.pool.address))
            never = request.call.safety not in request.call.resend
            exchange(self._map, [share], command.deadline, peek=never, decode=command.decode)
        finally:
            if place is not None:
                shard.gate.leave(place)
        shard.review(self._readers.policy, monotonic())
        outcome = share.outcomes[-1]
        if outcome is NOT_TRIED and monotonic() >= command.deadline:
            full = reader.pool.suspicion is None
            trouble = Trouble.POOL_FULL if full else Trouble.EXPIRED
            return Failed(Event(trouble, reader.pool.address))
        return outcome

    def _wait_for_one(self, request: ReadRequest) -> Any:
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
            self._map.helper.start()
            try:
                suspicion.wait(min(left, _LOOK), self._map.config.max_waiting)
            except Crowded:
                return Failed(Event(Trouble.CROWDED, pool.address))
        return NOT_TRIED

    def _weigh(self, decision: Decision, event: Event, request: Exchange) -> Decision:
        """Return what was decided; without a pause if another node is left to ask."""
        if isinstance(request, ReadRequest) and request.reader is not None:
            request.tried.add(request.reader)
            if not request.reader.is_primary:
                self._judge(request.reader, decision, event, request.slot)
            if read_from.goes_on(event.trouble):
                if self._candidates(request):
                    decision = replace(decision, pause=0.0)
                else:
                    request.tried.clear()
        return decision

    def _judge(self, reader: Reader, decision: Decision, event: Event, slot: int | None) -> None:
        """Let a replica's trouble count for the calls to come."""
        shard = self._readers.shard(slot or 0)
        primary = shard.readers[0].pool.address if shard else None
        if decision.suspect:
            self._readers.suspect(reader)
        if read_from.casts_doubt(event, primary):
            self._readers.leave_out(reader)

    def _lone_share(self, request: Request, pool: Pool) -> Share:
        if isinstance(request, ReadRequest) and request.reader is not None:
            return ReadShare(self._readers, request.reader, [request.data])
        return super()._lone_share(request, pool)
