"""The nodes of each shard as reads see them: their pools, their health, and whose turn it is.

A replica has a pool of its own here, whose connections say READONLY; those of the map never do.
So a node that is demoted answers MOVED where its primary was meant, and one that is promoted is
asked on the map's connections: no connection ever serves in the wrong role.

Nothing tells a client that a replica came, came back, or lost its link. So while reads go by a
policy, each replica is asked for its link about once a second, in one write with a read, or by a
probe once it has lost it; and the map is refreshed every few seconds.
"""

from __future__ import annotations

import threading
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._core import read_from
from clustercache._core.read_from import Candidate, Health, Plan
from clustercache._sync.gate import Gate
from clustercache._sync.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clustercache._core import topology
    from clustercache._core.address import Address
    from clustercache._core.read_from import ReadFrom
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pool import Pool

LEFT_OUT = 0.5
"""Seconds for which a replica that refused a read is left out."""

CHECKED = 1.0
"""Seconds after which a replica in use is asked for its link again."""

REVIEWED = 0.1
"""Seconds after which a shard's order is made anew."""

REFRESHED = 5.0
"""Seconds after which the map is refreshed, for replicas that came back."""

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

    def __init__(self, pool: Pool, *, is_primary: bool) -> None:
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

    def __init__(self, readers: Sequence[Reader], gate: Gate) -> None:
        """Make no plan yet."""
        self.readers = readers
        self.gate = gate
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


class _Followed(NamedTuple):
    """Readers by slot, and all of them by address and role, for one topology."""

    topology: topology.Topology | None = None
    slots: Sequence[ShardReaders | None] = ()
    known: Mapping[tuple[Address, bool], Reader] = {}


class Readers:
    """All shards' readers, for one topology after the other."""

    def __init__(self, cluster_map: ClusterMap, policy: ReadFrom) -> None:
        """Open nothing yet.

        Args:
            cluster_map: Whose topology is followed.
            policy: The client's own; a block of calls may have another.
        """
        self.map = cluster_map
        self.policy = policy
        self.turns = count()
        self.followed = _Followed()
        self._refresh_due = monotonic() + REFRESHED
        self._look_due = 0.0
        self._probes: dict[Reader, Probe] = {}
        self._lock = threading.RLock()
        self._looking = Gate(1)

    def shard(self, slot: int) -> ShardReaders | None:
        """Return the readers of the shard that owns a slot, by the map as it is now."""
        if self.followed.topology is not self.map.topology:
            with self._lock:
                if self.followed.topology is not self.map.topology:
                    self._follow()
        slots = self.followed.slots
        return slots[slot] if slots else None

    def _follow(self) -> None:
        with self.map._lock:  # noqa: SLF001 - a topology comes with the pools of its nodes
            new = self.map.topology
            shards = new.shards if new else ()
            made = {shard: self._readers_of(shard) for shard in shards}
        owners = new.slots if new else ()
        slots = [made[shard] if shard else None for shard in owners]
        everyone = [reader for one in made.values() for reader in one.readers]
        known = {(reader.pool.address, reader.is_primary): reader for reader in everyone}
        now = _Followed(new, slots, known)
        # At once: a signal handler that uses the client may have followed the map meanwhile.
        before, self.followed = self.followed, now
        for reader in before.known.values():
            if not reader.is_primary and reader not in everyone:
                reader.pool.retire()

    def _readers_of(self, shard: topology.Shard) -> ShardReaders:
        readers = [self._reader(node, is_primary=node is shard.primary) for node in shard.nodes]
        return ShardReaders(readers, Gate(max(self.map.config.max_connections // 2, 1)))

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

    def look_for_replicas(self, now: float) -> None:
        """Ask for a refresh when one is due, and replicas that lost their link whether it is back.

        Nobody waits: what a replica says is looked at in a later call.
        """
        if now >= self._refresh_due:
            self._refresh_due = now + REFRESHED
            self.map.helper.refresh()
        if now >= self._look_due:
            self._look_due = now + REVIEWED
            place = self._looking.enter(now)
            if place is not None:
                try:
                    self._look(now)
                finally:
                    self._looking.leave(place)

    def _look(self, now: float) -> None:
        known = self.followed.known.values()
        lost = [reader for reader in known if not (reader.linked or reader.pool.retired)]
        for reader in lost:
            probe = self._probes.get(reader)
            if probe is None:
                where = self.map.discovery.way_to(reader.pool.address)
                probe = self._probes[reader] = Probe(*where, read_from.FACTS)
            replies = probe.answer(0.0)
            if replies is not None:
                reader.learn(replies, now)
            elif now >= reader.check_due:
                probe.ask(0.0)
        for reader in self._probes.keys() - lost:
            self._probes.pop(reader).close()

    def check_is_due(self, reader: Reader, policy: ReadFrom, now: float) -> bool:
        """Tell whether a node is to be asked for what it knows of itself."""
        return now >= reader.check_due or (policy.by_zone and reader.zone is None)

    def suspect(self, reader: Reader) -> None:
        """Leave out a node that does not answer, until it does."""
        if reader.is_primary:
            self.map.suspect(reader.pool)
        else:
            self.map.suspect_replica(reader.pool)

    def leave_out(self, reader: Reader) -> None:
        """Leave out a node that refused a read, for a while."""
        reader.in_order_from = monotonic() + LEFT_OUT

    @property
    def pools(self) -> list[Pool]:
        """The pools of replicas."""
        return [one.pool for one in self.followed.known.values() if not one.is_primary]

    def close(self) -> None:
        """Close all connections to replicas, once calls under way are done."""
        with self._lock:
            for pool in self.pools:
                pool.retire()
        self._looking.enter(monotonic() + REVIEWED)
        self._close_probes()

    def _close_probes(self) -> None:
        while self._probes:
            self._probes.popitem()[1].close()

    def after_fork(self) -> None:
        """Start anew in a child; the parent's sockets are only closed."""
        for pool in self.pools:
            pool.abandon()
        self._lock, self._looking = threading.RLock(), Gate(1)
        self._close_probes()
        self.followed = _Followed()
