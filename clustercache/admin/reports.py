"""What `ClusterAdmin.check` and `.info` return: frozen, and ready for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from clustercache.admin.nodes_text import SlotRange

Severity = Literal["error", "warning", "advice"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found.

    Attributes:
        severity: "error": keys are out of reach, or may be soon. "warning": the cluster works
            and lacks a protection. "advice": it could be set up better.
        code: A stable name for programs, as "uncovered-slots".
        message: A sentence for people; says what to do where that is known.
        nodes: The nodes concerned.
    """

    severity: Severity
    code: str
    message: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The state of a cluster by all its nodes' answers.

    Attributes:
        findings: The worst first.
        nodes: How many nodes are known.
        reachable: How many of them answered.
        primaries: How many primaries own slots.
        covered: How many of the 16384 slots have an owner that works.
    """

    findings: tuple[Finding, ...]
    nodes: int
    reachable: int
    primaries: int
    covered: int

    @property
    def ok(self) -> bool:
        """Whether nothing worse than advice was found."""
        return all(finding.severity == "advice" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can hold."""
        return {"ok": self.ok, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """One node.

    Attributes:
        address: "host:port".
        node_id: Its id.
        role: "primary" or "replica".
        state: "ok"; "failed", when the others agreed on that; "unreachable" from here.
        reason: Why it is unreachable, or "".
        primary: A replica's primary as "host:port"; "" for a primary.
        slots: The ranges that it owns.
        epoch: Its config epoch.
        keys: How many keys it holds; None where unknown.
        memory: Bytes in use; None where unknown.
        link: A replica's link to its primary: "up" or "down"; "" for a primary.
        lag: Seconds since a replica last heard of its primary; None for a primary.
        behind: Bytes of the replication stream that a replica lacks; None where unknown.
        version: As "valkey 9.1.2"; "" where unknown.
    """

    address: str
    node_id: str
    role: str
    state: str
    reason: str = ""
    primary: str = ""
    slots: tuple[SlotRange, ...] = ()
    epoch: int = 0
    keys: int | None = None
    memory: int | None = None
    link: str = ""
    lag: int | None = None
    behind: int | None = None
    version: str = ""

    @property
    def slot_count(self) -> int:
        """How many slots it owns."""
        return sum(part.size for part in self.slots)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """All nodes: each primary in the order of its slots, followed by its replicas."""

    nodes: tuple[NodeInfo, ...]

    @property
    def keys(self) -> int:
        """How many keys the primaries that answered hold."""
        return sum(node.keys or 0 for node in self.nodes if node.role == "primary")

    @property
    def memory(self) -> int:
        """How many bytes all nodes that answered use."""
        return sum(node.memory or 0 for node in self.nodes)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can hold."""
        nodes = [{**asdict(node), "slot_count": node.slot_count} for node in self.nodes]
        return {"keys": self.keys, "memory": self.memory, "nodes": nodes}
