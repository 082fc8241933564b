"""What each node says of the cluster, and whether the cluster is ready by all that is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clustercache._core.slots import SLOT_COUNT
from clustercache.admin.link import parse_info
from clustercache.admin.nodes_text import NodeLine, parse_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from clustercache._core.address import Address
    from clustercache.admin.link import NodeLink


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node's answers.

    Attributes:
        asked: The address that was asked.
        lines: CLUSTER NODES.
        state: CLUSTER INFO.
        replication: INFO replication.
    """

    asked: Address
    lines: tuple[NodeLine, ...]
    state: dict[str, str]
    replication: dict[str, str]

    @property
    def myself(self) -> NodeLine:
        """The node's own line."""
        return next(line for line in self.lines if "myself" in line.flags)

    @property
    def node_id(self) -> str:
        """The node's own id."""
        return self.myself.node_id

    @property
    def members(self) -> dict[str, NodeLine]:
        """All nodes known for good, by id."""
        return {line.node_id: line for line in self.lines if line.is_member}

    def layout(self, ids: Collection[str]) -> frozenset[tuple[object, ...]]:
        """Return what all nodes must agree on: who owns slots, and the roles of `ids`."""
        return frozenset(
            (line.node_id, line.is_primary, line.primary_id, line.slots)
            for line in self.lines
            if line.slots or line.node_id in ids
        )


def fetch_view(link: NodeLink, timeout: float | None = None) -> NodeView:
    """Ask one node; raises AdminError when it does not answer."""
    nodes = link.call("CLUSTER", "NODES", timeout=timeout)
    state = link.call("CLUSTER", "INFO", timeout=timeout)
    replication = link.call("INFO", "replication", timeout=timeout)
    return NodeView(
        asked=link.address,
        lines=parse_nodes(nodes, link.address.host),
        state=parse_info(state),
        replication=parse_info(replication),
    )


def why_not_ready(views: Sequence[NodeView], *, whole: bool = True) -> str | None:
    """Return the first reason why a cluster of these nodes is not ready, or None.

    Ready is: each node knows all others, says that the cluster's state is ok, and agrees with the
    others on slots and roles; each replica's link is up and its primary counts it as online.

    Args:
        views: One view of each node that is expected to work.
        whole: Whether every slot must have an owner.
    """
    ids = {view.node_id for view in views}
    for view in views:
        missing = ids - view.members.keys()
        if missing:
            return f"{view.asked} does not know {len(missing)} of {len(ids)} nodes yet"
    first = views[0]
    for view in views:
        if view.layout(ids) != first.layout(ids):
            return f"{view.asked} and {first.asked} do not agree on slots and roles yet"
    owned = sum(line.slot_count for line in first.lines)
    if whole and owned != SLOT_COUNT:
        return f"{SLOT_COUNT - owned} of {SLOT_COUNT} slots have no owner yet"
    for view in views:
        if view.state.get("cluster_state") != "ok":
            return f"{view.asked} says cluster_state:{view.state.get('cluster_state')}"
    return _why_not_in_sync(views)


def _why_not_in_sync(views: Sequence[NodeView]) -> str | None:
    for view in views:
        if not view.myself.is_primary:
            if view.replication.get("master_link_status") != "up":
                return f"replica {view.asked}: the link to its primary is not up yet"
            continue
        expected = sum(other.myself.primary_id == view.node_id for other in views)
        online = sum("state=online" in value for value in view.replication.values())
        if online < expected:
            return f"primary {view.asked} has {online} of {expected} replicas online"
    return None
