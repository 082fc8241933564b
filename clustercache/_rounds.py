"""The further rounds of a pipeline: what the first one left without a reply. Both shells use it.

What came of a round is absorbed here, and the next one is planned; the shells send it and wait.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from clustercache._core import wire
from clustercache._core.batch import Batch, Unit
from clustercache._core.decisions import Event, Trouble, Verb
from clustercache._course import Knowing, obey
from clustercache._failures import failure
from clustercache._limits import jitter
from clustercache._request import NOT_TRIED, Failed, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from clustercache._core.decisions import Decision
    from clustercache._limits import Limits
    from clustercache._queue import Chunk
    from clustercache._request import Request

_ASKING = wire.pack(("ASKING",))


class Routing(Knowing, Protocol):
    """What the rounds ask of a shell's map."""

    @property
    def slots(self) -> Sequence[Any]:
        """What reaches each slot's owner."""

    def any_primary(self) -> Any:
        """Return what reaches some primary."""


class Parcel(NamedTuple):
    """What goes to one node in one write.

    Args:
        pool: What reaches the node.
        units: What is sent.
        data: Their bytes, with what goes before some of them.
        at: The place of each unit's own among `data`.
    """

    pool: Any
    units: list[Unit]
    data: list[bytes]
    at: list[int]

    def outcomes(self, came: Sequence[Any]) -> list[tuple[Unit, Any]]:
        """Return each unit with its own of what came back for `data`."""
        return [(unit, came[place]) for unit, place in zip(self.units, self.at, strict=True)]


class Plan(NamedTuple):
    """One round.

    Args:
        parcels: What is sent, in an order that all callers share.
        outcomes: What is known without sending.
        suspected: What reaches a node that some wait for, if there is one.
    """

    parcels: list[Parcel]
    outcomes: list[tuple[Unit, Any]]
    suspected: Any


class Rounds:
    """The units of one batch, until each has a reply or has failed.

    Attributes:
        replies: Each unit's reply or exception, as far as they are known.
    """

    def __init__(self, known: Routing, units: Iterable[Unit], limits: Limits, now: float) -> None:
        """Take the units, those that have their replies already marked `done`.

        Args:
            known: The map.
            units: Their payloads are Requests.
            limits: In force.
            now: When their deadline began, in monotonic seconds.
        """
        self.replies: dict[Unit, Any] = {}
        self._known = known
        self._batch = Batch(units)
        self._limits = limits
        self._deadline = now + limits.deadline
        self._failed: dict[Unit, Failed] = {}
        self._children: dict[Unit, list[Unit]] = {}

    # What came of a round ---------------------------------------------------------------------

    def absorb(self, outcomes: Sequence[tuple[Unit, Any]], took: float) -> float | None:
        """Decide on what came of a round.

        Args:
            outcomes: Of each unit that was in it.
            took: Seconds.

        Returns:
            Seconds to wait before the next one; None when there is nothing left to send.
        """
        troubles: list[tuple[Unit, Event]] = []
        for unit, outcome in outcomes:
            if type(outcome) is Failed:
                self._failed[unit] = outcome
                troubles.append((unit, outcome.event))
            elif outcome is not NOT_TRIED:
                unit.done = True
                self.replies[unit] = outcome
        before = self._batch.pending
        step = self._batch.absorb(
            troubles, took=took, backoff=self._limits.retry.backoff, jitter=jitter
        )
        for unit, decision in step.decisions:
            self._obey(unit, decision)
        for unit in before:
            if unit.done and unit.verdict is not None:
                self.replies[unit] = self._error(unit, took)
        self._merge_children()
        if not self._batch.pending:
            return None
        return max(0.0, min(step.pause, self._deadline - monotonic()))

    def _obey(self, unit: Unit, decision: Decision) -> None:
        event = unit.event
        if event is not None:
            attempt = len(unit.history)
            self._known.observer.decided(unit.payload.facts, event, decision, attempt)
        if decision.verb is Verb.SPLIT and not unit.done:
            self._split(unit)
        if event is not None:
            obey(self._known, event, decision)

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
                replies = [self.replies.pop(child) for child in children]
                errors = [reply for reply in replies if isinstance(reply, Exception)]
                parts = [child.payload.part for child in children]
                try:
                    self.replies[unit] = merged(unit.payload.whole, parts, replies, errors)
                except Exception as error:  # noqa: BLE001 - it is this part's result
                    self.replies[unit] = error

    def _error(self, unit: Unit, took: float) -> Exception:
        failed = self._failed.get(unit) or Failed(Event(Trouble.EXPIRED))
        verdict = unit.verdict or Verb.RAISE_DEADLINE
        return failure(verdict, failed, unit.payload, unit.history[:-1], took)

    # The next round ---------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Return what can go now; the map is known."""
        if monotonic() >= self._deadline:
            return Plan([], self._expired(), None)
        groups: dict[Any, list[Unit]] = {}
        outcomes: list[tuple[Unit, Any]] = []
        suspected = None
        for unit in self._batch.round():
            pool = self._pool(unit)
            if pool is None:
                slot = unit.payload.slot
                outcomes.append((unit, Failed(Event(Trouble.UNCOVERED, slot=slot))))
            elif pool.suspicion is not None:
                suspected = suspected or pool
            else:
                groups.setdefault(pool, []).append(unit)
        ordered = sorted(groups.items(), key=lambda group: group[0].address)
        return Plan([_parcel(pool, units) for pool, units in ordered], outcomes, suspected)

    def _expired(self) -> list[tuple[Unit, Any]]:
        return [
            (unit, Failed(Event(Trouble.EXPIRED, unit.event.node if unit.event else None)))
            for unit in self._batch.pending
        ]

    def _pool(self, unit: Unit) -> Any:
        if unit.target is not None:
            return self._known.pool_at(unit.target)
        slot = unit.payload.slot
        return self._known.any_primary() if slot is None else self._known.slots[slot]


def _parcel(pool: Any, units: list[Unit]) -> Parcel:
    data: list[bytes] = []
    at: list[int] = []
    for unit in units:
        if unit.asking:
            data.append(_ASKING)
        at.append(len(data))
        data.append(unit.payload.data)
    return Parcel(pool, units, data, at)


class Leftover:
    """What the first round left without a reply, and what shares a slot with it."""

    def __init__(self, chunk: Chunk, replies: list[Any], limits: Limits, now: float) -> None:
        """Find it.

        Args:
            chunk: What was sent.
            replies: What came back for each piece.
            limits: In force.
            now: When their deadline began, in monotonic seconds.
        """
        troubled = {
            chunk.slots[place]
            for place, reply in enumerate(replies)
            if type(reply) is Failed or reply is NOT_TRIED
        }
        self._replies = replies
        self._placed = chunk.units(troubled, limits, now)
        self.first: list[tuple[Unit, Any]] = []
        """What is without a reply, and why."""
        for place, unit in self._placed:
            reply = replies[place]
            unit.done = type(reply) is not Failed and reply is not NOT_TRIED
            if not unit.done:
                self.first.append((unit, reply))

    @property
    def units(self) -> list[Unit]:
        """All of it."""
        return [unit for _, unit in self._placed]

    def fill(self, came: dict[Unit, Any]) -> None:
        """Put replies and exceptions in their places."""
        for place, unit in self._placed:
            if unit in came:
                self._replies[place] = came[unit]
