"""From a list of nodes to a cluster: who gets which slots, and who copies whom.

Pure: `NodeFacts` in, `Plan` out. The plan depends on the nodes' order and hosts alone, not on what
they hold, so that a second run over nodes that a first run left half done finds the same plan,
recognises its own work in them, and completes it. Whatever else a node holds is a `PlanError`.

Source: Redis Cluster specification, "Key distribution model".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clustercache._core.slots import SLOT_COUNT
from clustercache.admin.nodes_text import SlotRange, amount
from clustercache.admin.placement import assign, deal
from clustercache.admin.requirements import check_nodes, check_shard
from clustercache.exceptions import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address

LEAST_PRIMARIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a plan has to know of one node.

    Attributes:
        address: Where clients reach it.
        node_id: Its id; "" with cluster mode off.
        host: What fails together with it; "" takes the address's host.
        cluster_enabled: Whether it runs in cluster mode.
        keys: How many keys it holds.
        primary_id: Whose replica it is already, or "".
        slots: The slots that it owns already.
        known: The ids of the other nodes that it knows already.
        bus_port: Where other nodes reach it; 0 means 10000 above the client port.
        version: As (major, minor, patch); () where unknown.
    """

    address: Address
    node_id: str
    host: str = ""
    cluster_enabled: bool = True
    keys: int = 0
    primary_id: str = ""
    slots: tuple[SlotRange, ...] = ()
    known: frozenset[str] = frozenset()
    bus_port: int = 0
    version: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """What fails together with it: its host."""
        return self.host or self.address.host

    @property
    def is_blank(self) -> bool:
        """Whether nobody has used it yet."""
        return not (self.keys or self.primary_id or self.slots or self.known)


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """One primary with its slots, and its replicas."""

    primary: NodeFacts
    slots: SlotRange
    replicas: tuple[NodeFacts, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What `ClusterAdmin.create` will do.

    Attributes:
        shards: In the order of their slots.
        warnings: What the operator should know before saying yes.
        resumes: Whether it completes what an earlier run left half done.
    """

    shards: tuple[PlannedShard, ...]
    warnings: tuple[str, ...] = ()
    resumes: bool = False

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        """All nodes, the primaries first."""
        primaries = tuple(shard.primary for shard in self.shards)
        return primaries + tuple(node for shard in self.shards for node in shard.replicas)

    def lines(self) -> list[str]:
        """Return the plan as lines of text."""
        width = max(len(str(node.address)) for node in self.nodes)
        rows = []
        for shard in self.shards:
            copies = ", ".join(str(node.address) for node in shard.replicas) or "none"
            rows.append(
                f"{shard.primary.address!s:{width}}  slots {shard.slots!s:11} "
                f"({shard.slots.size})  replicas: {copies}"
            )
        return rows + [f"warning: {warning}" for warning in self.warnings]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as what JSON can hold."""
        return {
            "shards": [
                {
                    "primary": str(shard.primary.address),
                    "slots": list(shard.slots),
                    "replicas": [str(node.address) for node in shard.replicas],
                }
                for shard in self.shards
            ],
            "warnings": list(self.warnings),
            "resumes": self.resumes,
        }


def share_slots(primaries: int) -> list[SlotRange]:
    """Return one range of slots for each primary; their sizes differ by one at most."""
    bounds = [SLOT_COUNT * index // primaries for index in range(primaries + 1)]
    return [SlotRange(bounds[i], bounds[i + 1] - 1) for i in range(primaries)]


def plan(nodes: Sequence[NodeFacts], replicas: int = 1, primaries: int | None = None) -> Plan:
    """Plan a cluster of `nodes`.

    Args:
        nodes: The nodes; primaries are chosen from the first, one host after the other.
        replicas: Replicas of each primary; nodes left over become further replicas.
        primaries: How many primaries; None makes as many as the nodes give, but no fewer than
            three, for with fewer no majority could ever promote a replica.

    Raises:
        PlanError: These nodes cannot make that cluster; nothing was changed.
    """
    check_nodes(nodes)
    count = _count_primaries(len(nodes), replicas, primaries)
    hosts = [node.place for node in nodes]
    order = deal(hosts)
    first, rest = order[:count], order[count:]
    groups = assign([hosts[i] for i in first], [hosts[i] for i in rest])
    shards = tuple(
        PlannedShard(nodes[index], slots, tuple(nodes[rest[member]] for member in group))
        for index, slots, group in zip(first, share_slots(count), groups, strict=True)
    )
    for shard in shards:
        check_shard(shard, {node.node_id for node in nodes})
    resumes = not all(node.is_blank for node in nodes)
    return Plan(shards, tuple(_warnings(shards)), resumes)


def _count_primaries(nodes: int, replicas: int, wanted: int | None) -> int:
    if replicas < 0 or (wanted is not None and wanted < 1):
        raise PlanError("a cluster has at least one primary, and no fewer than 0 replicas each")
    count = max(nodes // (replicas + 1), LEAST_PRIMARIES) if wanted is None else wanted
    needed = count * (replicas + 1)
    if nodes < needed or (not replicas and wanted is not None and nodes > needed):
        raise PlanError(
            f"{needed} nodes are needed for {amount(count, 'primary', 'primaries')} with "
            f"{amount(replicas, 'replica')} each; {nodes} were given"
        )
    return count


def _warnings(shards: Sequence[PlannedShard]) -> list[str]:
    found = []
    hosts = Counter(shard.primary.place for shard in shards)
    everywhere = {node.place for shard in shards for node in shard.replicas}
    if len({*hosts, *everywhere}) == 1:
        return ["all nodes are on one host: losing it loses the cluster"]
    for shard in shards:
        found += [
            f"{replica.address} is on the same host as its primary {shard.primary.address}"
            for replica in shard.replicas
            if replica.place == shard.primary.place
        ]
    host, most = hosts.most_common(1)[0]
    if most * 2 >= len(shards) > 1:
        found.append(
            f"{most} of {len(shards)} primaries are on {host}: without it, no majority is left to "
            "promote replicas"
        )
    return found
