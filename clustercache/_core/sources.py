"""Where a topology comes from: what is asked, and how the answers become one snapshot.

A cluster tells of itself (CLUSTER SLOTS and NODES). The other forms are *one shard that owns all
slots*, and differ only in who knows its primary:

* **Roles.** A standalone server, or a primary with replicas: each node's own ROLE. A replica leads
  to its primary; only who says of itself that it is one is taken for one.
* **Sentinels.** They hold elections, so theirs is the word: the greatest config epoch wins (as
  among themselves), then the majority of those that answer, then the newest. Replicas are not
  asked: one that was restarted without its configuration calls itself a primary, too. Who is named
  still has to say so itself before it is believed.

Sources: Redis Cluster specification; the ROLE command's reference; "High availability with
Sentinel", "Configuration epochs"; "Guidelines for Redis clients with support for Sentinel".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from clustercache._core import topology
from clustercache._core.address import Address, check_port
from clustercache._core.slots import SLOT_COUNT
from clustercache._core.topology import Claim, Node, Shard, Topology, View
from clustercache._core.wire import ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

Question: TypeAlias = tuple[tuple[str, ...], ...]


class Said(NamedTuple):
    """What one node, or one sentinel, says of the one shard."""

    asked: Address
    primary: Address
    replicas: tuple[Node, ...] = ()
    epoch: int = 0
    peers: tuple[Address, ...] = ()
    """Other sentinels."""


Answer: TypeAlias = View | Said


class WrongKindError(ValueError):
    """The one that answered is none that can be asked this; waiting will not change it."""


class Source(Protocol):
    """Who is asked what, and what follows from the answers."""

    question: Question
    """The commands, sent together."""

    def read(self, replies: Sequence[Any], asked: Address) -> Answer:
        """Return what the replies to the question say.

        Raises:
            ServerError: The question was refused.
            ValueError: The replies have an unknown form.
        """

    def lead(self, answer: Answer) -> Address | None:
        """Return whom an answer names as knowing better, or None."""

    def agree(
        self, answers: Sequence[Answer], current: Topology | None, seeds: frozenset[Address]
    ) -> Topology | None:
        """Return the snapshot that follows from the answers, oldest first; None if none does."""


class ClusterSource:
    """A cluster's nodes, which settle ownership by config epoch (see `topology`)."""

    question: Question = (("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"))

    def read(self, replies: Sequence[Any], asked: Address) -> View:
        """See `Source`."""
        slots, nodes = replies
        if isinstance(slots, ServerError):
            raise slots
        text = nodes.decode() if isinstance(nodes, bytes) else None  # refused, or not there
        return topology.parse_view(slots, text, asked)

    def lead(self, answer: Answer) -> None:
        """See `Source`."""

    def agree(
        self, answers: Sequence[Answer], current: Topology | None, seeds: frozenset[Address]
    ) -> Topology | None:
        """See `Source`."""
        views = [answer for answer in answers if isinstance(answer, View)]
        ours, replaced = topology.same_cluster(views, current, seeds)
        return topology.merge(ours, None if replaced else current) if ours else None


class RoleSource:
    """A standalone server, or a primary and its replicas."""

    question: Question = (("ROLE",), ("HELLO",))

    def read(self, replies: Sequence[Any], asked: Address) -> Said:
        """See `Source`. HELLO stands in where an ACL denies ROLE, but knows no addresses."""
        role, hello = replies
        if not isinstance(role, ServerError):
            return _parse_role(role, asked)
        if not isinstance(hello, ServerError) and _fields(hello).get("role") == "master":
            return Said(asked, asked)
        raise role

    def lead(self, answer: Answer) -> Address | None:
        """See `Source`: a replica leads to its primary."""
        is_replica = isinstance(answer, Said) and answer.primary != answer.asked
        return answer.primary if isinstance(answer, Said) and is_replica else None

    def agree(
        self,
        answers: Sequence[Answer],
        current: Topology | None,
        seeds: frozenset[Address],  # noqa: ARG002 - whoever is a primary will do
    ) -> Topology | None:
        """See `Source`. Of several primaries the one with the most replicas wins, then ours."""
        known = primary_of(current)
        primaries = [a for a in answers if isinstance(a, Said) and a.primary == a.asked]
        ranked = [(len(a.replicas), a.asked == known, -n) for n, a in enumerate(primaries)]
        return _one_shard(primaries[ranked.index(max(ranked))]) if ranked else None


class SentinelSource:
    """The sentinels that watch one service."""

    def __init__(self, service: str) -> None:
        self.question: Question = (
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
            ("SENTINEL", "MASTER", service),
            ("SENTINEL", "REPLICAS", service),
            ("SENTINEL", "SENTINELS", service),
        )

    def read(self, replies: Sequence[Any], asked: Address) -> Said:
        """See `Source`. The first reply names the successor before the failover is through."""
        for reply in replies:
            if isinstance(reply, ServerError):
                raise reply
        try:
            address, master, entries, sentinels = replies
            primary = _address(*address)
            epoch = int(_fields(master).get("config-epoch", 0))
            nodes = [_watched(_fields(entry)) for entry in entries]
            peers = [_address(one["ip"], one["port"]) for one in map(_fields, sentinels)]
        except (TypeError, ValueError, KeyError) as error:
            msg = f"{asked} answered SENTINEL in an unknown form"
            raise ValueError(msg) from error
        others = tuple(node for node in nodes if node.address != primary)
        return Said(asked, primary, others, epoch, tuple(peers))

    def lead(self, answer: Answer) -> None:
        """See `Source`."""

    def agree(
        self,
        answers: Sequence[Answer],
        current: Topology | None,  # noqa: ARG002 - epochs begin anew when sentinels are set up anew
        seeds: frozenset[Address],  # noqa: ARG002
    ) -> Topology | None:
        """See `Source`."""
        said = [answer for answer in answers if isinstance(answer, Said)]
        votes = [sum(other.primary == one.primary for other in said) for one in said]
        ranked = [(one.epoch, votes[age], age) for age, one in enumerate(said)]
        return _one_shard(said[max(ranked)[2]]) if ranked else None


_CHANNELS = ("+switch-master", "+promoted-slave", "+slave", "+sdown", "-sdown")
SUBSCRIBE: Question = tuple(("SUBSCRIBE", channel) for channel in _CHANNELS)
"""What a sentinel is told that is to announce changes; the first two are another primary."""


def is_news(message: Any, service: str) -> bool:
    """Tell whether a sentinel's message is of this service: it names it as one of its words."""
    if not isinstance(message, list) or message[:1] != [b"message"]:
        return False
    return service.encode() in bytes(message[-1]).split(b" ")


CLUSTER, ROLES = ClusterSource(), RoleSource()
_NO_CLUSTER = ("cluster support disabled", "unknown command", "noperm")


def may_be_no_cluster(reply: Any) -> bool:
    """Tell whether a node may have refused CLUSTER SLOTS because it is not part of any cluster.

    An ACL that denies it is obeyed first, so that a refusal by it tells nothing.
    """
    text = reply.text.lower() if isinstance(reply, ServerError) else ""
    return any(sign in text for sign in _NO_CLUSTER)


def in_cluster(replies: Sequence[Any]) -> bool:
    """Tell from the replies to the question of ROLES, whose HELLO no ACL denies."""
    hello = replies[-1]
    return not isinstance(hello, ServerError) and _fields(hello).get("mode") == "cluster"


def primary_of(known: Topology | None) -> Address | None:
    """Return the primary of the one shard, or None where there is none or more than one."""
    shards = known.shards if known is not None else ()
    return shards[0].primary.address if len(shards) == 1 else None


def _one_shard(said: Said) -> Topology:
    shard = Shard(Node(said.primary), said.replicas, said.epoch)
    return Topology.of([Claim(0, SLOT_COUNT - 1, shard)], single=True)


# Parsing -----------------------------------------------------------------------------------------


def _parse_role(role: Any, asked: Address) -> Said:
    try:
        kind, *rest = role
        if _text(kind) == "master":
            replicas = [Node(_address(host, port)) for host, port, *_ in rest[1]]
            return Said(asked, asked, tuple(replicas))
        if _text(kind) in {"slave", "replica"}:
            return Said(asked, _address(rest[0], rest[1]))
    except (TypeError, ValueError, IndexError) as error:
        msg = f"{asked} answered ROLE in an unknown form"
        raise ValueError(msg) from error
    msg = f"{asked} is a sentinel: write its URL as redis+sentinel://host:port/service"
    raise WrongKindError(msg)


def _watched(fields: dict[str, str]) -> Node:
    """Return a replica as a sentinel sees it."""
    down = not {"s_down", "o_down", "disconnected"}.isdisjoint(fields["flags"].split(","))
    linked = fields.get("master-link-status", "ok") == "ok"
    return Node(_address(fields["ip"], fields["port"]), healthy=linked and not down)


def _address(host: Any, port: Any) -> Address:
    return Address(_text(host), check_port(port if isinstance(port, int) else _text(port)))


def _fields(reply: Any) -> dict[str, str]:
    """Return names and values: a map in RESP3, in turn in RESP2."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
