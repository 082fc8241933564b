"""Carry out a plan: epochs, slots, MEET, REPLICATE, and wait until every node agrees.

Each step asks what is there before it acts, so that a run that failed halfway is completed by
running it again. Epochs come first, because a node takes one only while it knows nobody; slots
come before MEET, so that the first gossip carries them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from clustercache.admin.facts import can_reach
from clustercache.admin.link import RefusedError
from clustercache.admin.views import NodeView, fetch_view, why_not_ready
from clustercache.admin.waiting import wait_until
from clustercache.exceptions import AdminError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache._core.address import Address
    from clustercache.admin.link import NodeLink
    from clustercache.admin.nodes_text import SlotRange
    from clustercache.admin.plan import NodeFacts, Plan

_MEET_AGAIN = 2.0
_FULL_MESH = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that was done.

    Attributes:
        step: "plan", "ports", "epochs", "slots", "meet", "replicate", "wait" or "done".
        message: A sentence for people.
    """

    step: str
    message: str

    def __str__(self) -> str:
        return self.message


class Creation:
    """One run over the nodes of a plan.

    Args:
        plan: What to make.
        links: A link to each node of the plan.
        tell: Called with each thing done.
        timeout: Seconds for MEET to complete, and again for everything to agree and be in sync.
    """

    def __init__(
        self,
        plan: Plan,
        links: Mapping[Address, NodeLink],
        tell: Callable[[Progress], None],
        timeout: float,
    ) -> None:
        self._plan = plan
        self._links = links
        self._tell = tell
        self._timeout = timeout

    def run(self) -> None:
        """Do all steps.

        Raises:
            AdminError: Says which step failed and why; running again completes the work.
        """
        step = "setting config epochs"
        try:
            self._set_epochs()
            step = "assigning slots"
            self._assign_slots()
            step = "joining the nodes"
            self._meet()
            step = "attaching replicas"
            self._replicate()
            step = "waiting for agreement"
            self._await_ready()
        except AdminError as error:
            raise AdminError(
                f"{step} failed: {error}. Nothing was undone; running create again with the same "
                "nodes completes it"
            ) from error
        self._tell(Progress("done", f"all {len(self._links)} nodes agree"))

    def _set_epochs(self) -> None:
        for epoch, node in enumerate(self._plan.nodes, 1):
            if node.known:
                continue
            try:
                self._links[node.address].call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            except RefusedError as error:
                if "non-zero" not in error.text:  # an earlier run has set it
                    raise
        self._tell(Progress("epochs", "each node has a config epoch of its own"))

    def _assign_slots(self) -> None:
        for shard in self._plan.shards:
            if shard.primary.slots != (shard.slots,):
                add_slots(self._links[shard.primary.address], shard.slots, shard.primary.slots)
            self._tell(Progress("slots", f"{shard.primary.address} serves slots {shard.slots}"))

    def _meet(self) -> None:
        nodes = self._plan.nodes
        self._tell(Progress("meet", f"{len(nodes)} nodes are joined"))
        if len(nodes) == 1:
            return
        last = 0.0

        def reason() -> str | None:
            nonlocal last
            views = self._views()
            missing = _strangers(nodes, views)
            if missing and monotonic() - last > _MEET_AGAIN:  # a handshake times out silently
                last = monotonic()
                self._send_meets(missing)
            return f"{len(missing)} pairs of nodes do not know each other" if missing else None

        try:
            wait_until(reason, self._timeout, "CLUSTER MEET")
        except AdminError as error:
            raise AdminError(_blocked_port(nodes, self._views()) or str(error)) from error

    def _send_meets(self, missing: Sequence[tuple[NodeFacts, NodeFacts]]) -> None:
        nodes = self._plan.nodes
        position = {node.address: index for index, node in enumerate(nodes)}
        for one, other in missing:
            distance = (position[other.address] - position[one.address]) % len(nodes)
            if len(nodes) > _FULL_MESH and distance & (distance - 1):
                continue  # powers of two connect everyone, and gossip does the rest
            port = other.address.port
            bus = () if other.bus_port in {0, port + 10000} else (other.bus_port,)
            self._links[one.address].call(
                "CLUSTER", "MEET", other.host or other.address.host, port, *bus
            )

    def _replicate(self) -> None:
        for shard in self._plan.shards:
            for replica in shard.replicas:
                if not replica.primary_id:
                    self._links[replica.address].call("CLUSTER", "REPLICATE", shard.primary.node_id)
                self._tell(
                    Progress("replicate", f"{replica.address} copies {shard.primary.address}")
                )

    def _await_ready(self) -> None:
        self._tell(Progress("wait", "waiting until every node agrees and each replica is in sync"))
        try:
            wait_until(lambda: why_not_ready(self._views()), self._timeout, "the cluster")
        except AdminError as error:
            raise AdminError(f"{error}{self._login_hint()}") from error

    def _login_hint(self) -> str:
        """Say so when a replica's link is down because it has no password for its primary."""
        for view in self._views():
            if view.myself.is_primary or view.replication.get("master_link_status") == "up":
                continue
            try:
                reply = self._links[view.asked].call("CONFIG", "GET", "masterauth")
            except RefusedError:
                continue
            if not reply[1]:
                return (
                    f" ({view.asked} has no masterauth: if its primary wants a password, set "
                    "masterauth, and masteruser for an ACL user, on every node)"
                )
            return f" (check masteruser and masterauth of {view.asked}: its log says more)"
        return ""

    def _views(self) -> list[NodeView]:
        return [fetch_view(link) for link in self._links.values()]


def add_slots(link: NodeLink, wanted: SlotRange, owned: Sequence[SlotRange] = ()) -> None:
    """Assign the slots of `wanted` that are not in `owned` yet."""
    if not owned:
        try:
            link.call("CLUSTER", "ADDSLOTSRANGE", *wanted)
        except RefusedError as error:
            if "unknown" not in error.text.lower():  # Redis 7.0 and newer have it
                raise
        else:
            return
    has = {slot for part in owned for slot in range(part.start, part.end + 1)}
    missing = [slot for slot in range(wanted.start, wanted.end + 1) if slot not in has]
    if missing:
        link.call("CLUSTER", "ADDSLOTS", *missing)


def _strangers(
    nodes: Sequence[NodeFacts], views: Sequence[NodeView]
) -> list[tuple[NodeFacts, NodeFacts]]:
    """Return the pairs of nodes of which the first does not know the second."""
    members = {view.asked: view.members for view in views}
    return [
        (one, other)
        for one in nodes
        for other in nodes
        if other is not one and other.node_id not in members[one.address]
    ]


def _blocked_port(nodes: Sequence[NodeFacts], views: Sequence[NodeView]) -> str | None:
    """Return which bus port the missing handshakes point to."""
    unknown = Counter(other.address for _, other in _strangers(nodes, views))
    if not unknown:
        return None
    # A handshake needs both ways; the node whose port is closed is the one that most others lack.
    most = max(unknown.values())
    suspects = [node for node in nodes if unknown[node.address] == most]
    shut = [node for node in suspects if not can_reach(node.host, node.bus_port)]
    node = (shut or suspects)[0]
    return (
        f"bus port {node.bus_port} of {node.host or node.address.host} cannot be reached: open it "
        f"in the firewall ({most} of {len(nodes) - 1} other nodes could not complete a MEET with "
        f"{node.address})"
    )
