"""One node of a fake cluster: what it tells about the layout, and what it answers or refuses.

Source: Redis Cluster specification, "Redirection and resharding"; the replies of CLUSTER SLOTS,
SHARDS, NODES and INFO as the command reference describes them.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

from clustercache._core.slots import key_slot

from .handshake import unknown_command, wrong_arity
from .replies import Plain, Reply, bulk, error, integer, reply, simple, verbatim
from .server import FakeServer
from .store import TABLE, Store, StoreCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .cluster import FakeCluster
    from .connections import Command, Connection

SLOTS = 16384

SlotRange: TypeAlias = tuple[int, int]


class Shard:
    """A primary, its replicas, and the data that they share (replication takes no time here)."""

    def __init__(self) -> None:
        self.nodes: list[FakeNode] = []
        self.store = Store()
        self.epoch = 0
        self.migrating: dict[int, Shard] = {}

    @property
    def primary(self) -> FakeNode:
        """The node that takes writes."""
        return self.nodes[0]


class FakeNode(FakeServer):
    """One node of a `FakeCluster`: a `FakeServer` that knows its place.

    Attributes:
        id: The node id, 40 hexadecimal digits.
        failed: Whether the others call it failed.
    """

    mode = "cluster"

    def __init__(self, cluster: FakeCluster, shard: Shard, *, host: str) -> None:
        self.cluster = cluster
        self.shard = shard
        self.id = secrets.token_hex(20)
        self.failed = False
        super().__init__(host=host)

    @property
    def is_primary(self) -> bool:
        """Whether it is its shard's primary now."""
        return self.shard.primary is self

    @property
    def role(self) -> str:
        """What HELLO says about it: "master" or "replica"."""
        return "master" if self.is_primary else "replica"

    @property
    def replicas(self) -> list[FakeNode]:
        """The other nodes of its shard."""
        return [node for node in self.shard.nodes if node is not self]

    @property
    def slots(self) -> list[int]:
        """The slots it owns: a primary's, in order."""
        return self.cluster.slots_of(self.shard) if self.is_primary else []

    # What it tells

    def slots_reply(self) -> Reply:
        """Make the reply to CLUSTER SLOTS."""
        entries: list[Plain] = []
        for shard in self.cluster.shards:
            nodes: list[Plain] = [
                [node.host, node.port, node.id, []] for node in shard.nodes if not node.failed
            ]
            entries += [
                [first, last, *nodes] for first, last in ranges(self.cluster.slots_of(shard))
            ]
        return reply(entries)

    def shards_reply(self) -> Reply:
        """Make the reply to CLUSTER SHARDS."""
        return reply([self._shard_entry(shard) for shard in self.cluster.shards])

    def _shard_entry(self, shard: Shard) -> Plain:
        pairs = ranges(self.cluster.slots_of(shard))
        nodes: list[Plain] = [
            {
                "id": node.id,
                "port": node.port,
                "ip": node.host,
                "endpoint": node.host,
                "role": node.role,
                "replication-offset": 0,
                "health": "fail" if node.failed else "online",
            }
            for node in shard.nodes
        ]
        return {"slots": [slot for pair in pairs for slot in pair], "nodes": nodes}

    def nodes_reply(self) -> Reply:
        """Make the reply to CLUSTER NODES."""
        return verbatim("".join(f"{self._node_line(node)}\n" for node in self.cluster.nodes))

    def _node_line(self, node: FakeNode) -> str:
        flags = ["myself"] * (node is self) + ["master" if node.is_primary else "slave"]
        flags += ["fail"] * node.failed
        primary = "-" if node.is_primary else node.shard.primary.id
        link = "disconnected" if node.failed else "connected"
        slots = [
            str(first) if first == last else f"{first}-{last}" for first, last in ranges(node.slots)
        ]
        if node is self and node.is_primary:
            slots += self._open_slots()
        address = f"{node.host}:{node.port}@{node.port + 10000}"
        line = [node.id, address, ",".join(flags), primary, "0", "0", str(node.shard.epoch), link]
        return " ".join(line + slots)

    def _open_slots(self) -> list[str]:
        leaving = [
            f"[{slot}->-{target.primary.id}]" for slot, target in self.shard.migrating.items()
        ]
        coming = [
            f"[{slot}-<-{shard.primary.id}]"
            for shard in self.cluster.shards
            for slot, target in shard.migrating.items()
            if target is self.shard
        ]
        return leaving + coming

    def info_reply(self) -> Reply:
        """Make the reply to CLUSTER INFO."""
        assigned = sum(len(self.cluster.slots_of(shard)) for shard in self.cluster.shards)
        facts: dict[str, object] = {
            "cluster_enabled": 1,
            "cluster_state": "ok" if assigned == SLOTS else "fail",
            "cluster_slots_assigned": assigned,
            "cluster_slots_ok": assigned,
            "cluster_slots_pfail": 0,
            "cluster_slots_fail": 0,
            "cluster_known_nodes": len(self.cluster.nodes),
            "cluster_size": sum(bool(node.slots) for node in self.cluster.primaries),
            "cluster_current_epoch": self.cluster.epoch,
            "cluster_my_epoch": self.shard.epoch,
        }
        return verbatim("".join(f"{name}:{fact}\r\n" for name, fact in facts.items()))

    # What it answers

    def _default(self, command: Command, connection: Connection) -> Reply:
        with self.cluster.lock:
            return self._answer(command, connection)

    def _answer(self, command: Command, connection: Connection) -> Reply:
        if command.name == "CLUSTER":
            return self._cluster_command(command)
        if command.name == "COMMAND":
            return _command_table(command)
        if command.name == "INFO":
            return verbatim(f"redis_version:7.2.0\r\ncluster_enabled:1\r\nrole:{self.role}\r\n")
        if command.name == "CONFIG":
            return reply({})
        spec = TABLE.get(command.name)
        if spec is None:
            return super()._default(command, connection)
        return self._refusal(command, spec, connection) or self.shard.store.run(command)

    def _cluster_command(self, command: Command) -> Reply:
        subcommand = command[1].decode("utf-8", "replace").upper() if len(command) > 1 else ""
        answers = {
            "INFO": self.info_reply,
            "MYID": lambda: bulk(self.id),
            "NODES": self.nodes_reply,
            "SHARDS": self.shards_reply,
            "SLOTS": self.slots_reply,
        }
        if subcommand in answers:
            return answers[subcommand]()
        if subcommand == "KEYSLOT" and len(command) == 3:
            return integer(key_slot(command[2]))
        return wrong_arity("cluster") if not subcommand else unknown_command(command)

    def _refusal(
        self, command: Command, spec: StoreCommand, connection: Connection
    ) -> Reply | None:
        """Say why this node does not carry out a command; None if it does."""
        keys = spec.keys(command[1:])
        slots = {key_slot(key) for key in keys}
        if not slots:
            return None
        if len(slots) > 1:
            return error("CROSSSLOT Keys in request don't hash to the same slot")
        (slot,) = slots
        owner = self.cluster.shard_of(slot)
        if owner is None:
            return error("CLUSTERDOWN Hash slot not served")
        if owner is self.shard and self.is_primary:
            return self._refusal_while_leaving(slot, keys)
        if owner is self.shard and connection.readonly and not spec.write:
            return None
        if connection.asking and self.is_primary and owner.migrating.get(slot) is self.shard:
            return self._refusal_while_coming(keys)
        return error(f"MOVED {slot} {owner.primary.address}")

    def _refusal_while_leaving(self, slot: int, keys: Iterable[bytes]) -> Reply | None:
        target = self.shard.migrating.get(slot)
        missing = [key for key in keys if not self.shard.store.has(key)]
        if target is None or not missing:
            return None
        if any(self.shard.store.has(key) for key in keys):
            return error("TRYAGAIN Multiple keys request during rehashing of slot")
        return error(f"ASK {slot} {target.primary.address}")

    def _refusal_while_coming(self, keys: Iterable[bytes]) -> Reply | None:
        listed = set(keys)
        if len(listed) > 1 and not all(self.shard.store.has(key) for key in listed):
            return error("TRYAGAIN Multiple keys request during rehashing of slot")
        return None


def ranges(slots: Iterable[int]) -> Iterator[SlotRange]:
    """Yield ascending slots as pairs of first and last.

    Example:
        >>> list(ranges([0, 1, 2, 7]))
        [(0, 2), (7, 7)]
    """
    first = last = -1
    for slot in slots:
        if slot == last + 1 and first >= 0:
            last = slot
            continue
        if first >= 0:
            yield first, last
        first = last = slot
    if first >= 0:
        yield first, last


def _command_table(command: Command) -> Reply:
    """Answer COMMAND as clients need it that look up there where the keys are."""
    if len(command) > 1:
        return reply(len(TABLE)) if command[1].upper() == b"COUNT" else reply([])
    rows: list[Plain] = []
    for name, spec in TABLE.items():
        arity = spec.arity + 1 if spec.arity >= 0 else spec.arity - 1
        flags: list[Plain] = [simple("write" if spec.write else "readonly")]
        keyed = spec.last is not None
        last = (spec.last + 1 if spec.last >= 0 else -1) if spec.last is not None else 0
        position: list[Plain] = [int(keyed), last, spec.step * keyed]
        nothing_more: list[Plain] = [[], [], [], []]  # categories, tips, key specs, subcommands
        rows.append([name.lower(), arity, flags, *position, *nothing_more])
    return reply(rows)
