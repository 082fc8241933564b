"""Who owns which slot: immutable snapshots, and how several nodes' views become one.

A node's *view* is its CLUSTER SLOTS, which knows the endpoint that clients should use, joined by
node id with its CLUSTER NODES, which knows config epochs and health and may be denied by an ACL.

Views merge per slot by the owner's config epoch, as the servers settle ownership themselves
(Redis Cluster specification, "Hash slots configuration propagation"): a new owner always has the
greater epoch, so a view that lags can never roll the map back. At equal epochs, or without
CLUSTER NODES, the majority of the views wins, then the newest of them. The snapshot in force
takes part as the oldest view, with no vote.

A MOVED changes the snapshot at once but provisionally: no epoch comes with it, so the snapshot
before it is kept, and the views of the refresh that it causes settle it either way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core.address import Address, check_port
from clustercache._core.refresh import ASKED
from clustercache._core.slots import SLOT_COUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Node:
    """One server: `id` is "" while it is known only from a redirect."""

    address: Address
    id: str = ""
    healthy: bool = True

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A primary and its replicas. `epoch` is the primary's config epoch, 0 where unknown."""

    primary: Node
    replicas: tuple[Node, ...] = ()
    epoch: int = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The primary and all replicas."""
        return (self.primary, *self.replicas)


class Claim(NamedTuple):
    """One range of slots in one view; `end` is inclusive."""

    start: int
    end: int
    shard: Shard


@dataclass(frozen=True, slots=True)
class View:
    """What one node says of the whole cluster."""

    asked: Address
    claims: tuple[Claim, ...]

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all nodes in this view."""
        return frozenset(node.id for claim in self.claims for node in claim.shard.nodes)


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """An immutable snapshot: `slots[n]` is the shard that owns slot n, or None."""

    slots: Sequence[Shard | None]
    shards: tuple[Shard, ...]
    nodes: dict[Address, Node] = field(default_factory=dict)
    confirmed: Topology | None = None
    """The snapshot before any redirect that no view has confirmed yet; None: this one."""

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> Topology:
        """Return the snapshot in which each claim's range belongs to its shard."""
        slots: list[Shard | None] = [None] * SLOT_COUNT
        shards: dict[Shard, None] = {}
        for start, end, shard in claims:
            slots[start : end + 1] = [shard] * (end + 1 - start)
            shards[shard] = None
        nodes = {node.address: node for shard in shards for node in shard.nodes}
        return cls(slots, tuple(shards), nodes)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all nodes."""
        return frozenset(node.id for node in self.nodes.values())

    def claims(self) -> list[Claim]:
        """Return the ranges of this snapshot, in order."""
        found: list[Claim] = []
        start = 0
        for slot in range(1, SLOT_COUNT + 1):
            shard = self.slots[start]
            if slot == SLOT_COUNT or self.slots[slot] is not shard:
                if shard is not None:
                    found.append(Claim(start, slot - 1, shard))
                start = slot
        return found

    def with_moved(self, slot: int, address: Address) -> Topology:
        """Return the snapshot that a MOVED of `slot` to `address` suggests, until a refresh.

        A replica that now owns one slot of its shard was promoted, and owns them all.
        """
        owner = self.slots[slot]
        if owner is not None and owner.primary.address == address:
            return self
        if owner is not None:
            promoted = next((n for n in owner.replicas if n.address == address), None)
            if promoted is not None:
                rest = tuple(node for node in owner.nodes if node is not promoted)
                return self._replacing(owner, replace(owner, primary=promoted, replicas=rest))
        target = next((s for s in self.shards if s.primary.address == address), None)
        if target is None:
            target = Shard(self.nodes.get(address, Node(address)))
        slots = list(self.slots)
        slots[slot] = target
        shards = self.shards if target in self.shards else (*self.shards, target)
        nodes = {**self.nodes, address: target.primary}
        return Topology(slots, shards, nodes, self.confirmed or self)

    def _replacing(self, old: Shard, new: Shard) -> Topology:
        slots = [new if shard is old else shard for shard in self.slots]
        shards = tuple(new if shard is old else shard for shard in self.shards)
        return Topology(slots, shards, self.nodes, self.confirmed or self)

    def same_as(self, other: Topology) -> bool:
        """Tell whether both say the same of every slot, node and epoch."""
        return _described(self) == _described(other)


def _described(topology: Topology) -> list[tuple[int, int, Node, tuple[Node, ...], int]]:
    return [(c.start, c.end, c.shard.primary, c.shard.replicas, c.shard.epoch)
            for c in topology.claims()]  # fmt: skip


def merge(views: Sequence[View], current: Topology | None = None) -> Topology:
    """Return one snapshot from the views, oldest first.

    Args:
        views: At least one; all of the same cluster (see `same_cluster`).
        current: The snapshot in force; only what it knows with an epoch can outlast a view.
    """
    layers = [(view.claims, 1) for view in views]
    if current is not None:
        base = current.confirmed or current
        confirmed = tuple(c for c in base.claims() if c.shard.epoch)
        layers.insert(0, (confirmed, 0))
    points = sorted({p for claims, _ in layers for c in claims for p in (c.start, c.end + 1)})
    columns = [(_column(claims, points), vote) for claims, vote in layers]
    winners: list[Claim] = []
    for index, start in enumerate(points[:-1]):
        shard = _winner([(column[index], vote) for column, vote in columns])
        if shard is not None:
            winners.append(Claim(start, points[index + 1] - 1, shard))
    return Topology.of(_unify(winners))


def _column(claims: Iterable[Claim], points: Sequence[int]) -> list[Shard | None]:
    """Return the owner of each piece between two neighbouring points, in one view."""
    column: list[Shard | None] = [None] * len(points)
    index = {point: i for i, point in enumerate(points)}
    for start, end, shard in claims:
        first, last = index[start], index[end + 1]
        column[first:last] = [shard] * (last - first)
    return column


def _winner(candidates: Sequence[tuple[Shard | None, int]]) -> Shard | None:
    best = candidates[-1][0]
    if all(shard is best for shard, _ in candidates):
        return best
    votes: dict[str, int] = {}
    for shard, vote in candidates:
        if shard is not None:
            votes[_name(shard)] = votes.get(_name(shard), 0) + vote
    ranked = [
        (shard.epoch, votes[_name(shard)], age, shard)
        for age, (shard, _) in enumerate(candidates)
        if shard is not None
    ]
    return max(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def _name(shard: Shard) -> str:
    return shard.primary.id or str(shard.primary.address)


def _unify(claims: Sequence[Claim]) -> list[Claim]:
    """Let all ranges of one primary share one Shard: the newest that any view has of it."""
    chosen: dict[str, Shard] = {}
    for claim in claims:
        known = chosen.get(_name(claim.shard))
        if known is None or claim.shard.epoch >= known.epoch:
            chosen[_name(claim.shard)] = claim.shard
    return [Claim(c.start, c.end, chosen[_name(c.shard)]) for c in claims]


def same_cluster(
    views: Sequence[View], current: Topology | None, seeds: frozenset[Address]
) -> tuple[list[View], bool]:
    """Return the views that speak of our cluster, and whether it was replaced by another.

    A view that shares no node id with the snapshot belongs to another cluster: its address was
    given to another one meanwhile, and it is dropped, unless most of the seeds say so, for
    then the cluster itself was rebuilt. Where no view is ours, most of those that a refresh asks
    are enough; a single seed is believed only then.

    Args:
        views: What was answered, oldest first.
        current: The snapshot in force, or None at the start.
        seeds: The configured addresses.
    """
    if current is None:
        return _largest_family(views), False
    known = current.ids
    ours = [view for view in views if view.ids & known]
    said_by_seeds = [v for v in views if v.asked in seeds and not v.ids & known]
    electorate = len(seeds) if ours else min(len(seeds), ASKED)
    if len(said_by_seeds) * 2 > electorate and (len(said_by_seeds) > 1 or not ours):
        return _largest_family(said_by_seeds), True
    return ours, False


def _largest_family(views: Sequence[View]) -> list[View]:
    families = [[other for other in views if other.ids & view.ids] for view in views]
    return max(families, key=len, default=[])


# Parsing -----------------------------------------------------------------------------------------


class NodeFacts(NamedTuple):
    """One line of CLUSTER NODES, as far as routing needs it."""

    epoch: int
    healthy: bool


def parse_nodes(text: str) -> dict[str, NodeFacts]:
    """Return the facts of each node id in a CLUSTER NODES reply.

    Source: the CLUSTER NODES command's reference, "Serialization format".
    """
    facts: dict[str, NodeFacts] = {}
    for line in text.splitlines():
        fields = line.split(" ", 8)
        flags = fields[2].split(",")
        linked = fields[7] == "connected" or "myself" in flags
        failing = not {"fail", "handshake", "noaddr"}.isdisjoint(flags)
        facts[fields[0]] = NodeFacts(int(fields[6]), linked and not failing)
    return facts


def parse_view(slots: Sequence[Any], nodes: str | None, asked: Address) -> View:
    """Return the view in a node's replies to CLUSTER SLOTS and CLUSTER NODES.

    Args:
        slots: The reply to CLUSTER SLOTS, RESP2 or RESP3, bytes or str.
        nodes: The reply to CLUSTER NODES, or None where it was refused.
        asked: The node that answered; it stands for an endpoint that is null or empty.

    Raises:
        ValueError: The reply has not the form that the specification gives.
    """
    shards: dict[str, Shard] = {}
    claims = []
    try:
        facts = parse_nodes(nodes) if nodes else {}
        for start, end, primary, *replicas in slots:
            members = [_node(entry, facts, asked) for entry in (primary, *replicas)]
            if not 0 <= start <= end < SLOT_COUNT:
                raise ValueError(start, end)  # noqa: TRY301 - one place turns it into ours
            first = members[0]
            shard = shards.get(first.id)
            if shard is None or not first.id:
                epoch = facts[first.id].epoch if first.id in facts else 0
                shard = shards[first.id] = Shard(first, tuple(members[1:]), epoch)
            claims.append(Claim(start, end, shard))
    except (TypeError, IndexError, KeyError, ValueError) as error:
        msg = f"{asked} answered CLUSTER SLOTS or NODES in an unknown form"
        raise ValueError(msg) from error
    claims.sort(key=lambda claim: claim.start)
    return View(asked, tuple(claims))


def _node(entry: Sequence[Any], facts: dict[str, NodeFacts], asked: Address) -> Node:
    host = _text(entry[0]) or asked.host
    if host == "?":
        host = _metadata(entry).get("ip", asked.host)
    node_id = _text(entry[2]) if len(entry) > 2 else ""
    known = facts.get(node_id)
    return Node(Address(host, check_port(entry[1])), node_id, known is None or known.healthy)


def _metadata(entry: Sequence[Any]) -> dict[str, str]:
    """Return an entry's metadata: a map in RESP3, names and values in turn in RESP2."""
    extra = entry[3] if len(entry) > 3 else ()
    pairs = extra.items() if isinstance(extra, dict) else zip(extra[::2], extra[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
