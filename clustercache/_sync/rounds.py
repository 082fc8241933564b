"""The further rounds of a pipeline: what the first one left without a reply."""

from __future__ import annotations

import time
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.batch import Batch, Unit
from clustercache._core.decisions import Event, Trouble, Verb
from clustercache._course import obey
from clustercache._failures import failure
from clustercache._limits import jitter
from clustercache._request import Failed, merged
from clustercache._sync.exchange import NOT_TRIED, Share, exchange
from clustercache._sync.health import Crowded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision
    from clustercache._limits import Limits
    from clustercache._request import Request
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pool import Pool

_ASKING = wire.pack(("ASKING",))


class Rounds:
    """Sends the units of one batch until each has a reply or has failed."""

    def __init__(
        self, cluster_map: ClusterMap, units: Iterable[Unit], limits: Limits, deadline: float
    ) -> None:
        """Take the units, those that have their replies already marked `done`.

        Args:
            cluster_map: Whom to send to.
            units: Their payloads are Requests.
            limits: In force.
            deadline: In monotonic seconds.
        """
        self._map = cluster_map
        self._batch = Batch(units)
        self._limits = limits
        self._deadline = deadline
        self._failed: dict[Unit, Failed] = {}
        self._children: dict[Unit, list[Unit]] = {}
        self._replies: dict[Unit, Any] = {}

    def run(self, first: Sequence[tuple[Unit, Any]]) -> dict[Unit, Any]:
        """Return each unit's reply or exception.

        Args:
            first: What the first round brought for each unit that it left without a reply.
        """
        outcomes: Sequence[tuple[Unit, Any]] = first
        began = monotonic()
        while True:
            self._absorb(outcomes, monotonic() - began)
            if not self._batch.pending:
                return self._replies
            began = monotonic()
            if began >= self._deadline:
                expired = [
                    (unit, Failed(Event(Trouble.EXPIRED, unit.event.node if unit.event else None)))
                    for unit in self._batch.pending
                ]
                outcomes = expired
            else:
                outcomes = self._send(self._batch.round())

    # What came of a round ---------------------------------------------------------------------

    def _absorb(self, outcomes: Sequence[tuple[Unit, Any]], took: float) -> None:
        troubles: list[tuple[Unit, Event]] = []
        for unit, outcome in outcomes:
            if type(outcome) is Failed:
                self._failed[unit] = outcome
                troubles.append((unit, outcome.event))
            elif outcome is not NOT_TRIED:
                unit.done = True
                self._replies[unit] = outcome
        before = set(self._batch.pending)
        step = self._batch.absorb(
            troubles, took=took, backoff=self._limits.retry.backoff, jitter=jitter
        )
        for unit, decision in step.decisions:
            self._obey(unit, decision)
        for unit in before:
            if unit.done and unit.verdict is not None:
                self._replies[unit] = self._error(unit, took)
        self._merge_children()
        if step.pause and self._batch.pending:
            time.sleep(max(0.0, min(step.pause, self._deadline - monotonic())))

    def _obey(self, unit: Unit, decision: Decision) -> None:
        event = unit.event
        if event is not None:
            attempt = len(unit.history)
            self._map.observer.decided(unit.payload.facts, event, decision, attempt)
        if decision.verb is Verb.SPLIT and not unit.done:
            self._split(unit)
        if event is not None:
            obey(self._map, event, decision)

    def _split(self, unit: Unit) -> None:
        """Put a part's keys in its place, each by itself."""
        request: Request = unit.payload
        singles = request.by_key()
        children = [
            Unit(unit.order, [key], single.call, single)
            for key, single in zip(unit.keys, singles, strict=True)
        ]
        self._children[unit] = children
        self._batch.replace(unit, children)

    def _merge_children(self) -> None:
        for unit, children in list(self._children.items()):
            if all(child.done for child in children):
                del self._children[unit]
                replies = [self._replies.pop(child) for child in children]
                errors = [reply for reply in replies if isinstance(reply, Exception)]
                parts = [child.payload.part for child in children]
                try:
                    self._replies[unit] = merged(unit.payload.whole, parts, replies, errors)
                except Exception as error:  # noqa: BLE001 - it is this part's result
                    self._replies[unit] = error

    def _error(self, unit: Unit, took: float) -> Exception:
        failed = self._failed.get(unit) or Failed(Event(Trouble.EXPIRED))
        verdict = unit.verdict or Verb.RAISE_DEADLINE
        return failure(verdict, failed, unit.payload, unit.history[:-1], took)

    # Sending ----------------------------------------------------------------------------------

    def _send(self, units: Sequence[Unit]) -> list[tuple[Unit, Any]]:
        """Send what can go now; wait for a suspected node only if nothing else can."""
        groups: dict[Pool, list[Unit]] = {}
        outcomes: list[tuple[Unit, Any]] = []
        suspected: list[Pool] = []
        for unit in units:
            pool = self._pool(unit)
            if pool is None:
                slot = unit.payload.slot
                outcomes.append((unit, Failed(Event(Trouble.UNCOVERED, slot=slot))))
            elif pool.suspicion is not None:
                suspected.append(pool)
            else:
                groups.setdefault(pool, []).append(unit)
        if groups:
            outcomes += self._exchange(groups)
        elif suspected and not outcomes:
            self._wait_for(suspected[0])
        return outcomes

    def _pool(self, unit: Unit) -> Pool | None:
        self._map.ensure(self._deadline)
        target: Address | None = unit.target
        if target is not None:
            return self._map.pool_at(target)
        slot = unit.payload.slot
        return self._map.any_primary() if slot is None else self._map.slots[slot]

    def _wait_for(self, pool: Pool) -> None:
        suspicion = pool.suspicion
        if suspicion is not None:
            # More than max_waiting callers: this one tries again a little later instead.
            self._map.helper.start()  # whoever began to doubt it may have been interrupted
            try:
                suspicion.wait(self._deadline - monotonic(), self._map.config.max_waiting)
            except Crowded:
                time.sleep(self._limits.retry.backoff_cap)

    def _exchange(self, groups: dict[Pool, list[Unit]]) -> list[tuple[Unit, Any]]:
        shares, members = [], []
        for pool, units in sorted(groups.items(), key=lambda group: group[0].address):
            data: list[bytes] = []
            at: list[int] = []
            for unit in units:
                if unit.asking:
                    data.append(_ASKING)
                at.append(len(data))
                data.append(unit.payload.data)
            follows = all(unit.target is None for unit in units)
            shares.append(Share(pool, data, follows_map=follows))
            members.append((units, at))
        exchange(self._map, shares, self._deadline, peek=True)
        return [
            (unit, share.outcomes[index])
            for share, (units, at) in zip(shares, members, strict=True)
            for unit, index in zip(units, at, strict=True)
        ]
