"""What nodes have to be before a cluster is made of them: blank, or a part of this very plan."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING

from clustercache.admin.nodes_text import amount
from clustercache.exceptions import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache.admin.plan import NodeFacts, PlannedShard


def check_nodes(nodes: Sequence[NodeFacts]) -> None:
    """Refuse nodes that are none, or are given twice, or cannot reach one another."""
    addresses = Counter(node.address for node in nodes)
    for address, times in addresses.items():
        if times > 1:
            raise PlanError(f"{address} was given {times} times; give each node once")
    for node in nodes:
        if not node.cluster_enabled:
            raise PlanError(
                f"{node.address} has cluster mode off: set cluster-enabled yes and restart it"
            )
    seen: dict[str, NodeFacts] = {}
    for node in nodes:
        twin = seen.setdefault(node.node_id, node)
        if twin is not node:
            raise PlanError(f"{twin.address} and {node.address} are one and the same node")
    local = [node.address for node in nodes if _is_loopback(node)]
    if 0 < len(local) < len(nodes):
        raise PlanError(
            f"{local[0]} is a loopback address, by which nodes on other hosts cannot reach it: "
            "give the address that they use"
        )


def _is_loopback(node: NodeFacts) -> bool:
    try:
        return ipaddress.ip_address(node.place).is_loopback
    except ValueError:
        return node.place == "localhost"


def check_shard(shard: PlannedShard, ids: set[str]) -> None:
    """Refuse a node that holds anything but a part of this very plan."""
    for node in (shard.primary, *shard.replicas):
        strangers = len(node.known - ids)
        if strangers:
            raise PlanError(
                f"{node.address} knows {amount(strangers, 'node')} not given here: it belongs to a "
                "cluster; take it out of there and CLUSTER RESET it first"
            )
    primary = shard.primary
    if primary.primary_id:
        raise PlanError(f"{primary.address} is a replica already, and was to be a primary")
    wrong = [s for s in primary.slots if s.start < shard.slots.start or s.end > shard.slots.end]
    if wrong:
        raise PlanError(
            f"{primary.address} serves slots {wrong[0]} already, and was to serve {shard.slots}"
        )
    finished = primary.slots == (shard.slots,) and (primary.known or len(ids) == 1)
    _check_empty(primary, ours=bool(finished))
    for replica in shard.replicas:
        if replica.slots:
            raise PlanError(
                f"{replica.address} serves slots {replica.slots[0]} already, and was to be a "
                f"replica of {primary.address}"
            )
        if replica.primary_id not in {"", primary.node_id}:
            raise PlanError(
                f"{replica.address} is a replica of another node already, and was to be one of "
                f"{primary.address}"
            )
        _check_empty(replica, ours=bool(replica.primary_id))


def _check_empty(node: NodeFacts, *, ours: bool) -> None:
    if node.keys and not ours:
        raise PlanError(
            f"{node.address} is not empty: it holds {amount(node.keys, 'key')} (FLUSHALL would "
            "delete all)"
        )
