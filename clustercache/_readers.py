"""The nodes of each shard as reads see them: who may answer, their health, and whose turn it is.

A replica is reached by connections of its own here, which say READONLY; those of the map never do.
So a node that is demoted answers MOVED where its primary was meant, and one that is promoted is
asked on the map's connections: no connection ever serves in the wrong role.

Nothing tells a client that a replica came, came back, or lost its link. So while reads go by a
policy, each replica is asked for its link about once a second, in one write with a read, or by a
probe once it has lost it; and the map is refreshed every few seconds.

Both shells use it: they make the connections, the probes and the gates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._core import read_from
from clustercache._core.read_from import Candidate, Health, Plan
from clustercache._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache._core import topology
    from clustercache._core.address import Address
    from clustercache._core.decisions import Decision, Event
    from clustercache._core.read_from import ReadFrom
    from clustercache._core.routing import Part
    from clustercache._request import Command

LEFT_OUT = 0.5
"""Seconds for which a replica that refused a read is left out."""

CHECKED = 1.0
"""Seconds after which a replica in use is asked for its link again."""

REVIEWED = 0.1
"""Seconds after which a shard's order is made anew."""

REFRESHED = 5.0
"""Seconds after which the map is refreshed, for replicas that came back."""

LOOK = 0.05
"""Seconds after which a call that no node can serve looks for one again."""

_NEVER: Final = float("inf")


class Reader:
    """One node of a shard; `pool` is the map's for a primary and one of its own for a replica."""

    __slots__ = (
        "check_due",
        "in_order_from",
        "is_primary",
        "known_well",
        "latency",
        "linked",
        "pool",
        "zone",
    )

    def __init__(self, pool: Any, *, is_primary: bool) -> None:
        """Know nothing of it yet."""
        self.pool = pool
        self.is_primary = is_primary
        self.known_well = True
        self.linked = True
        self.in_order_from = 0.0
        self.check_due = _NEVER if is_primary else 0.0
        self.latency: float | None = None
        self.zone: str | None = None

    def candidate(self, now: float) -> Candidate:
        """Return what a plan looks at."""
        health = Health.WELL
        if self.pool.suspicion is not None:
            health = Health.OUT
        elif not (self.is_primary or (self.known_well and self.linked)) or now < self.in_order_from:
            health = Health.DOUBTFUL
        return Candidate(health, self.latency, self.zone)

    def learn(self, replies: Sequence[Any], now: float) -> None:
        """Take the replies to `FACTS`."""
        linked, self.zone = read_from.facts_of(replies)
        self.linked = linked or self.is_primary
        self.check_due = _NEVER if self.is_primary else now + CHECKED

    def measured(self, seconds: float) -> None:
        """Take one more round trip."""
        self.latency = read_from.smoothed(self.latency, seconds)


class ShardReaders:
    """The readers of one shard, the primary first, and the plan for the client's own policy."""

    __slots__ = ("first", "gate", "readers", "until")

    def __init__(self, readers: Sequence[Reader], gate: Any) -> None:
        """Make no plan yet."""
        self.readers = readers
        self.gate = gate
        """What protects the primary from the reads of its replicas, when these are gone."""
        self.first: tuple[Reader, ...] = ()
        """Who takes plain reads in turn, without a further look, before the time `until`."""
        self.until = 0.0

    def plan(self, policy: ReadFrom, now: float) -> Plan:
        """Return the plan for a policy."""
        return read_from.plan(policy, [reader.candidate(now) for reader in self.readers])

    def review(self, policy: ReadFrom, now: float) -> None:
        """Renew what plain reads follow."""
        plan = self.plan(policy, now)
        if plan.guarded or not plan.groups:
            self.until = 0.0
            return
        self.first = tuple(self.readers[at] for at in plan.groups[0])
        self.until = now + REVIEWED


class Choice(NamedTuple):
    """Who may take a read; `guarded` as in a plan."""

    shard: ShardReaders
    reader: Reader
    guarded: bool


class ReadRequest(Request):
    """A read with the nodes that it was sent to, in this turn of the candidates."""

    __slots__ = ("policy", "reader", "tried", "turn")

    def __init__(
        self, command: Command, part: Part, turn: int, reader: Reader | None = None
    ) -> None:
        """Pack it.

        Args:
            command: The whole call.
            part: One of its parts.
            turn: Of the candidates.
            reader: Where a first attempt, made elsewhere, was sent.
        """
        super().__init__(command, part)
        self.policy: ReadFrom = command.limits.read_from
        self.turn = turn
        self.reader = reader
        self.tried: set[Reader] = set()


class Followed(NamedTuple):
    """Readers by slot, and all of them by address and role, for one topology."""

    topology: topology.Topology | None = None
    slots: Sequence[ShardReaders | None] = ()
    known: Mapping[tuple[Address, bool], Reader] = {}


class Readership(ABC):
    """All shards' readers, for one topology of a shell's map after the other."""

    def __init__(
        self, known: Any, policy: ReadFrom, new_gate: Callable[[], Any], now: float
    ) -> None:
        """Open nothing yet.

        Args:
            known: The map whose topology is followed.
            policy: The client's own; a block of calls may have another.
            new_gate: Makes a shard's gate.
            now: In monotonic seconds, as all times here.
        """
        self.map = known
        self.policy = policy
        self.turns = count()
        self.followed = Followed()
        self._new_gate = new_gate
        self._refresh_due = now + REFRESHED
        self._look_due = 0.0
        self._probes: dict[Reader, Any] = {}

    def shard(self, slot: int) -> ShardReaders | None:
        """Return the readers of the shard that owns a slot, by the map as it is now."""
        if self.followed.topology is not self.map.topology:
            self.follow()
        slots = self.followed.slots
        return slots[slot] if slots else None

    # The map ----------------------------------------------------------------------------------

    def follow(self) -> None:
        """Make the readers of the map's topology; those that stay are kept."""
        new = self.map.topology
        shards = new.shards if new else ()
        made = {shard: self._readers_of(shard) for shard in shards}
        owners = new.slots if new else ()
        slots = [made[shard] if shard else None for shard in owners]
        everyone = [reader for one in made.values() for reader in one.readers]
        known = {(reader.pool.address, reader.is_primary): reader for reader in everyone}
        now = Followed(new, slots, known)
        # At once: a signal handler that uses the client may have followed the map meanwhile.
        before, self.followed = self.followed, now
        for reader in before.known.values():
            if not reader.is_primary and reader not in everyone:
                reader.pool.retire()

    def _readers_of(self, shard: topology.Shard) -> ShardReaders:
        readers = [self._reader(node, is_primary=node is shard.primary) for node in shard.nodes]
        return ShardReaders(readers, self._new_gate())

    def _reader(self, node: topology.Node, *, is_primary: bool) -> Reader:
        known = self.followed.known
        reader = known.get((node.address, is_primary))
        if reader is None or (is_primary and reader.pool is not self.map.pool_at(node.address)):
            own = not is_primary
            pool = self.map.new_pool(node.address, readonly=True) if own else None
            reader = Reader(pool or self.map.pool_at(node.address), is_primary=is_primary)
            other = known.get((node.address, own))
            if other is not None:
                reader.latency, reader.zone = other.latency, other.zone
        reader.known_well = node.healthy
        return reader

    @property
    def pools(self) -> list[Any]:
        """The pools of replicas."""
        return [one.pool for one in self.followed.known.values() if not one.is_primary]

    # Health -----------------------------------------------------------------------------------

    def look_for_replicas(self, now: float) -> None:
        """Ask for a refresh when one is due, and replicas that lost their link whether it is back.

        Nobody waits: what a replica says is looked at in a later call.
        """
        if now >= self._refresh_due:
            self._refresh_due = now + REFRESHED
            self.map.helper.refresh()
        if now >= self._look_due:
            self._look_due = now + REVIEWED
            self._look(now)

    def _look(self, now: float) -> None:
        """Take what replicas without their link answered, and ask them again when that is due."""
        known = self.followed.known.values()
        lost = [reader for reader in known if not (reader.linked or reader.pool.retired)]
        for reader in lost:
            probe = self._probes.get(reader)
            if probe is None:
                probe = self._probes[reader] = self._new_probe(reader.pool.address)
            replies = self._answer(probe)
            if replies is not None:
                reader.learn(replies, now)
            elif now >= reader.check_due:
                self._ask(probe)
        for reader in self._probes.keys() - lost:
            self._probes.pop(reader).close()

    @abstractmethod
    def _new_probe(self, address: Address) -> Any:
        """Return what asks a node for `FACTS`."""

    @abstractmethod
    def _answer(self, probe: Any) -> Sequence[Any] | None:
        """Return a probe's answer if it is there."""

    @abstractmethod
    def _ask(self, probe: Any) -> None:
        """Let a probe ask, without waiting."""

    def _close_probes(self) -> None:
        while self._probes:
            self._probes.popitem()[1].close()

    def check_is_due(self, reader: Reader, policy: ReadFrom, now: float) -> bool:
        """Tell whether a node is to be asked for what it knows of itself."""
        return now >= reader.check_due or (policy.by_zone and reader.zone is None)

    def suspect(self, reader: Reader) -> None:
        """Leave out a node that does not answer, until it does."""
        if reader.is_primary:
            self.map.suspect(reader.pool)
        else:
            self.map.suspect_replica(reader.pool)

    # Requests ---------------------------------------------------------------------------------

    def candidates(self, request: ReadRequest, now: float) -> list[Choice]:
        """Return whom the policy allows now, best first, but for those that were tried."""
        assert request.slot is not None  # noqa: S101 - what has no key is no read for replicas
        shard = self.shard(request.slot)
        if shard is None:
            return []
        plan = shard.plan(request.policy, now)
        chosen = [shard.readers[at] for at in plan.order(request.turn)]
        return [Choice(shard, one, plan.guarded) for one in chosen if one not in request.tried]

    def weigh(self, decision: Decision, event: Event, request: ReadRequest, now: float) -> Decision:
        """Return what was decided; without a pause if another node is left to ask."""
        if request.reader is None:
            return decision
        request.tried.add(request.reader)
        if not request.reader.is_primary:
            self._judge(request.reader, decision, event, request.slot or 0, now)
        if read_from.goes_on(event.trouble):
            if self.candidates(request, now):
                return replace(decision, pause=0.0)
            request.tried.clear()
        return decision

    def _judge(
        self, reader: Reader, decision: Decision, event: Event, slot: int, now: float
    ) -> None:
        """Let a replica's trouble count for the calls to come."""
        shard = self.shard(slot)
        primary = shard.readers[0].pool.address if shard else None
        if decision.suspect:
            self.suspect(reader)
        if read_from.casts_doubt(event, primary):
            reader.in_order_from = now + LEFT_OUT


class Spread:
    """Which nodes take the parts of a split read."""

    __slots__ = ("by_slot", "groups", "turn")

    def __init__(
        self,
        readers: Readership,
        policy: ReadFrom,
        parts: Sequence[Part],
        now: float,
        admits: Callable[[ShardReaders], bool],
    ) -> None:
        """Choose; a part that nobody can take is left out.

        Args:
            readers: The shards' nodes.
            policy: In force.
            parts: Of the call.
            now: In monotonic seconds.
            admits: Tells whether a shard's gate has a place, and takes it.
        """
        self.groups: dict[Reader, list[int]] = {}
        self.by_slot: dict[int, Reader] = {}
        self.turn = next(readers.turns)
        chosen: dict[ShardReaders, Reader | None] = {}
        for index, part in enumerate(parts):
            shard = readers.shard(part[0])
            if shard is None:
                continue
            if shard not in chosen:
                chosen[shard] = _choose(shard, shard.plan(policy, now), self.turn, admits)
            reader = chosen[shard]
            if reader is not None:
                self.groups.setdefault(reader, []).append(index)
                self.by_slot[part[0]] = reader


def _choose(
    shard: ShardReaders, plan: Plan, turn: int, admits: Callable[[ShardReaders], bool]
) -> Reader | None:
    order = plan.order(turn)
    reader = shard.readers[order[0]] if order else None
    refused = reader is not None and plan.guarded and reader.is_primary and not admits(shard)
    return None if refused else reader
