"""Which node of a shard answers a read: from a policy to candidates, in the order to ask them.

A policy orders groups of nodes; the nodes of one group take turns. Whatever the policy, a replica
that lost its link, or refused lately, comes behind all that are well: it may be far behind its
primary, and is better than nothing only where nothing else is left (a primary that dies takes its
replicas' links with it). A suspected node is no candidate at all.

The primary stays what writes depend on. Where a policy spreads reads and not one replica is well,
its plan is `guarded`: the shell then gives such reads a share of the primary's connections only.

Sources: Valkey's READONLY, "Read operations on replica nodes"; its INFO, "availability_zone" and
"master_link_status".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from clustercache._core.commands import Route, Safety, is_blocking
from clustercache._core.decisions import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.commands import CommandSpec
    from clustercache._core.decisions import Event

SAMPLED = 16
"""With LOWEST_LATENCY one read in about so many goes to a slower node, to measure it again."""

_SMOOTH = 0.2
"""The weight of one more round trip in a node's latency."""

FACTS: tuple[tuple[Any, ...], ...] = (("INFO", "replication"), ("INFO", "server"))
"""What a node is asked about itself, along with a read."""

_LINK = re.compile(r"^master_link_status:(\w+)", re.MULTILINE)
_ZONE = re.compile(r"^availability_zone:([^\r\n]*)", re.MULTILINE)


class _Policy(Enum):
    PRIMARY = "primary"
    PREFER_REPLICA = "prefer_replica"
    ROUND_ROBIN = "round_robin"
    LOWEST_LATENCY = "lowest_latency"
    SAME_ZONE = "same_zone"
    PRIMARY_THEN_REPLICA = "primary_then_replica"


@dataclass(frozen=True, slots=True, repr=False)
class ReadFrom:
    """Say which nodes may answer reads; replicas may lag, so own writes may be missing there.

    `PRIMARY` is the default. `PREFER_REPLICA`: the shard's replicas in turn, else the primary.
    `ROUND_ROBIN`: primary and replicas in turn. `LOWEST_LATENCY`: whichever answered fastest of
    late. `SAME_ZONE`: a node in the client's availability zone, a replica if there is one.
    `PRIMARY_THEN_REPLICA`: the primary, and a replica as soon as the primary does not answer.

    Example:
        >>> ReadFrom.same_zone("az1")
        ReadFrom.same_zone('az1')
        >>> ReadFrom.named("prefer_replica") == ReadFrom.PREFER_REPLICA
        True
    """

    policy: _Policy
    zone: str | None = None

    PRIMARY: ClassVar[ReadFrom]
    PREFER_REPLICA: ClassVar[ReadFrom]
    ROUND_ROBIN: ClassVar[ReadFrom]
    LOWEST_LATENCY: ClassVar[ReadFrom]
    SAME_ZONE: ClassVar[ReadFrom]
    PRIMARY_THEN_REPLICA: ClassVar[ReadFrom]

    @classmethod
    def same_zone(cls, zone: str) -> ReadFrom:
        """Return SAME_ZONE for a zone's name, which is that of the servers' `availability-zone`."""
        return cls(_Policy.SAME_ZONE, zone)

    @classmethod
    def named(cls, name: str) -> ReadFrom:
        """Return the policy that a URL calls `name`.

        Raises:
            ValueError: There is none.
        """
        return cls(_Policy(name.lower()))

    @property
    def spreads(self) -> bool:
        """Whether replicas take reads while the primary is well."""
        return self.policy not in {_Policy.PRIMARY, _Policy.PRIMARY_THEN_REPLICA}

    @property
    def by_zone(self) -> bool:
        """Whether zones matter."""
        return self.policy is _Policy.SAME_ZONE

    @property
    def by_latency(self) -> bool:
        """Whether round trips have to be measured."""
        return self.policy is _Policy.LOWEST_LATENCY

    def __repr__(self) -> str:
        named = f"same_zone({self.zone!r})" if self.zone is not None else self.policy.name
        return f"ReadFrom.{named}"


ReadFrom.PRIMARY = ReadFrom(_Policy.PRIMARY)
ReadFrom.PREFER_REPLICA = ReadFrom(_Policy.PREFER_REPLICA)
ReadFrom.ROUND_ROBIN = ReadFrom(_Policy.ROUND_ROBIN)
ReadFrom.LOWEST_LATENCY = ReadFrom(_Policy.LOWEST_LATENCY)
ReadFrom.SAME_ZONE = ReadFrom(_Policy.SAME_ZONE)
ReadFrom.PRIMARY_THEN_REPLICA = ReadFrom(_Policy.PRIMARY_THEN_REPLICA)
POLICIES = tuple(policy.value for policy in _Policy)


class Health(Enum):
    """What is known of a node, for reads."""

    WELL = auto()
    DOUBTFUL = auto()
    """It lost its link, or refused lately: only where nobody is well."""
    OUT = auto()
    """It is suspected: not asked."""


class Candidate(NamedTuple):
    """One node of a shard.

    `latency` is in seconds, None before the first round trip; `zone` is None until the node was
    asked for it, and "" for a node that has none.
    """

    health: Health = Health.WELL
    latency: float | None = None
    zone: str | None = None


class Plan(NamedTuple):
    """Groups of candidates' positions, best first, each group's nodes to be taken in turn."""

    groups: tuple[tuple[int, ...], ...]
    guarded: bool = False
    """Whether the primary has to be protected from these reads."""

    def order(self, turn: int) -> list[int]:
        """Return the positions in the order to ask them; `turn` counts the calls."""
        turned: dict[int, None] = {}
        for group in self.groups:
            at = turn % len(group)
            turned.update(dict.fromkeys((*group[at:], *group[:at])))
        return list(turned)


class _Shard(NamedTuple):
    """What a policy looks at: positions of those who are well, the primary's being 0."""

    primary: tuple[int, ...]
    replicas: tuple[int, ...]
    nodes: Sequence[Candidate]
    zone: str | None

    @property
    def everyone(self) -> tuple[int, ...]:
        return self.primary + self.replicas


_Groups = tuple[tuple[int, ...], ...]


def _by_latency(shard: _Shard) -> _Groups:
    latencies = {at: shard.nodes[at].latency for at in shard.everyone}
    known = sorted((seconds, at) for at, seconds in latencies.items() if seconds is not None)
    unknown = tuple(at for at, seconds in latencies.items() if seconds is None)
    ranked = tuple(at for _, at in known)
    mostly_first = (ranked[:1] * (SAMPLED - 1) + ranked[1:]) if len(ranked) > 1 else ranked
    return (unknown, mostly_first)


def _by_zone(shard: _Shard) -> _Groups:
    unknown = tuple(at for at in shard.everyone if shard.nodes[at].zone is None)
    near = tuple(at for at in shard.everyone if shard.nodes[at].zone == shard.zone)
    replicas = tuple(at for at in near if at)
    return (unknown, replicas, near, shard.replicas, shard.primary)


_GROUPS: dict[_Policy, Callable[[_Shard], _Groups]] = {
    _Policy.PRIMARY: lambda shard: (shard.primary,),
    _Policy.PREFER_REPLICA: lambda shard: (shard.replicas, shard.primary),
    _Policy.ROUND_ROBIN: lambda shard: (shard.everyone,),
    _Policy.LOWEST_LATENCY: _by_latency,
    _Policy.SAME_ZONE: _by_zone,
    _Policy.PRIMARY_THEN_REPLICA: lambda shard: (shard.primary, shard.replicas),
}


def plan(read_from: ReadFrom, nodes: Sequence[Candidate]) -> Plan:
    """Return whom a shard's reads may be sent to.

    Args:
        read_from: The policy.
        nodes: The shard's nodes, the primary first.
    """
    well = [at for at, node in enumerate(nodes) if node.health is Health.WELL]
    doubtful = tuple(at for at, node in enumerate(nodes) if node.health is Health.DOUBTFUL)
    replicas = tuple(at for at in well if at)
    shard = _Shard((0,) if 0 in well else (), replicas, nodes, read_from.zone)
    groups = _GROUPS[read_from.policy](shard)
    if read_from.policy is not _Policy.PRIMARY:
        groups += (doubtful,)
    return Plan(tuple(filter(None, groups)), guarded=read_from.spreads and not replicas)


# What an answer, or its absence, tells -----------------------------------------------------------

_ELSEWHERE = {Trouble.UNREADY, Trouble.UNREACHABLE, Trouble.BROKEN_OFF, Trouble.NO_REPLY}


def goes_on(trouble: Trouble) -> bool:
    """Tell whether another node of the shard may be asked at once: the trouble is the node's."""
    return trouble in _ELSEWHERE


def casts_doubt(event: Event, primary: Address | None) -> bool:
    """Tell whether a replica that answered so is to be left out for a while.

    A MOVED to its own primary means that it does not serve our connection: it was not told
    READONLY, for an ACL forbids it, say.

    Args:
        event: What came instead of a reply.
        primary: The primary of its shard.
    """
    sent_back = event.trouble is Trouble.MOVED and event.to == primary
    return sent_back or event.trouble is Trouble.UNREADY


def smoothed(latency: float | None, seconds: float) -> float:
    """Return a node's latency after one more round trip."""
    return seconds if latency is None else latency + _SMOOTH * (seconds - latency)


def facts_of(replies: Sequence[Any]) -> tuple[bool, str]:
    """Return whether a node has its link to its primary, and its zone; from replies to `FACTS`.

    What a server does not tell, or an ACL forbids to ask, is taken for well and for no zone.
    """
    replication, server = (
        reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
        for reply in replies
    )
    link, zone = _LINK.search(replication), _ZONE.search(server)
    return link is None or link[1] == "up", zone[1].strip() if zone else ""


# Which commands ----------------------------------------------------------------------------------

_OF_ONE_NODE = frozenset({
    # A cursor means something only to the node that gave it.
    "HSCAN", "SSCAN", "ZSCAN", "ARSCAN", "CLUSTERSCAN", "BF.SCANDUMP", "CF.SCANDUMP",
    # These tell of, or change, what the answering node alone knows of the use of a key.
    "TOUCH", "OBJECT FREQ", "OBJECT IDLETIME", "DEBUG OBJECT",
    # Replicas know no script that was loaded, only functions.
    "EVALSHA_RO",
})  # fmt: skip


def may_read(spec: CommandSpec) -> bool:
    """Tell whether a replica may serve a command with keys, if it does not block."""
    reads = spec.readonly and spec.safety is Safety.READ
    return reads and spec.route is Route.KEYS and spec.name not in _OF_ONE_NODE


def is_read(spec: CommandSpec, args: Sequence[Any]) -> bool:
    """Tell whether a replica may serve a call; `args[0]` is its whole name."""
    return may_read(spec) and not is_blocking(spec, args)
