"""The nodes that a client knows, by redis-py's names for asking. Both shells use it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, TypeVar

from redis.exceptions import SlotNotCoveredError

from clustercache._commands import AsyncCommands, Commands
from clustercache._core.address import Address
from clustercache.exceptions import UnsupportedCommandError

if TYPE_CHECKING:
    from clustercache._core.topology import Node, Shard, Topology

PRIMARY = "primary"
REPLICA = "replica"


C = TypeVar("C", bound="OneNode")
"""The commands of one node, as the client has them: blocking, or to be awaited."""


@dataclass(frozen=True, slots=True)
class ClusterNode(Generic[C]):
    """A node as it was when it was asked for; two are equal if their addresses are.

    Attributes:
        host: As the cluster tells it.
        port: Likewise.
        server_type: "primary" or "replica".
        redis_connection: All commands, sent to this node.
    """

    host: str
    port: int
    server_type: str = field(compare=False)
    redis_connection: C = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """Its address as "host:port": what results of several nodes are listed by, too."""
        return str(Address(self.host, self.port))


class OneNode:
    """Sends what it is given to one node: a client with ``target=`` given."""

    def __init__(self, client: Any, address: Address) -> None:
        """Send through `client`, whose connections are used."""
        self._client = client
        self._address = address
        self.encoder = client.encoder

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node and return its result; a key's own node may redirect it."""
        return self._client.execute_command(*args, **{**options, "target_nodes": self._address})

    def scan_iter(self, *args: Any, **options: Any) -> Any:
        """Iterate over the keys of this node, as it is."""
        return self._client.scan_iter(*args, **options, target=self._address)

    def get_encoder(self) -> Any:
        """Return redis-py's encoder, for its scripts."""
        return self.encoder

    def get_connection_kwargs(self) -> dict[str, Any]:
        """Return what redis-py's methods ask of a connection."""
        given: dict[str, Any] = self._client.get_connection_kwargs()
        return given


class NodeCommands(OneNode, Commands):
    """All commands, sent to one node."""

    _is_async_client: Literal[False] = False


class AsyncNodeCommands(OneNode, AsyncCommands):  # type: ignore[misc]
    """All commands, sent to one node; each is to be awaited."""

    _is_async_client: Literal[True] = True


class NodeAccess(ABC, Generic[C]):
    """What redis-py's cluster client tells of its nodes; the topology is learned if need be."""

    _node_commands: ClassVar[type[Any]]
    PRIMARIES = "primaries"
    REPLICAS = "replicas"
    ALL_NODES = "all"
    RANDOM = "random"
    DEFAULT_NODE = "default-node"

    @abstractmethod
    def _topology(self) -> Topology:
        """Return the snapshot in force."""

    def get_nodes(self) -> list[ClusterNode[C]]:
        """Return all nodes, primaries first."""
        return [*self.get_primaries(), *self.get_replicas()]

    def get_primaries(self) -> list[ClusterNode[C]]:
        """Return the primaries."""
        return [self._described(s.primary, PRIMARY) for s in _owners(self._topology())]

    def get_replicas(self) -> list[ClusterNode[C]]:
        """Return the replicas, those of one primary side by side."""
        shards = _owners(self._topology())
        return [self._described(node, REPLICA) for s in shards for node in s.replicas]

    def get_default_node(self) -> ClusterNode[C]:
        """Return the node that a command goes to which could go to any: the first primary."""
        return self.get_primaries()[0]

    def get_random_node(self) -> ClusterNode[C]:
        """Return any node."""
        return random.choice(self.get_nodes())  # noqa: S311 - no secret

    def get_random_primary_node(self) -> ClusterNode[C]:
        """Return any primary."""
        return random.choice(self.get_primaries())  # noqa: S311

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode[C] | None:
        """Return a node by its host and port or by its name, or None if it is not there.

        Args:
            host: As the cluster tells it, or "localhost".
            port: Likewise.
            node_name: "host:port" instead of both.
        """
        local = "127.0.0.1" if host == "localhost" else host
        name = node_name or str(Address(local or "", port or 0))
        return next((node for node in self.get_nodes() if node.name == name), None)

    def get_node_from_key(self, key: Any, replica: bool = False) -> ClusterNode[C] | None:  # noqa: FBT001, FBT002 - redis-py's
        """Return the primary of a key's slot, or its first replica (None if there is none).

        Raises:
            redis.exceptions.SlotNotCoveredError: No node owns the slot.
        """
        slot = self.keyslot(key)
        shard = self._topology().slots[slot]
        if shard is None:
            msg = f"no node owns slot {slot}: bring its primary back, or give the slot to another"
            raise SlotNotCoveredError(msg)
        if not replica:
            return self._described(shard.primary, PRIMARY)
        return self._described(shard.replicas[0], REPLICA) if shard.replicas else None

    def get_redis_connection(self, node: Any) -> C:
        """Return all commands, sent to one node."""
        return self._commands_of(Address(node.host, int(node.port)))

    @abstractmethod
    def keyslot(self, key: Any) -> int:
        """Return the slot (0 to 16383) of a key."""

    def monitor(self, target_node: Any = None) -> NoReturn:
        """Refuse: a monitored connection is nobody else's.

        Raises:
            UnsupportedCommandError: Says what to use.
        """
        del target_node
        msg = "use redis.Redis(host, port).monitor() on a node of get_nodes(), a connection apart"
        raise UnsupportedCommandError(msg, command="MONITOR")

    def _described(self, node: Node, kind: str) -> ClusterNode[C]:
        host, port = node.address
        return ClusterNode(host, port, kind, self._commands_of(node.address))

    def _commands_of(self, address: Address) -> C:
        made: C = self._node_commands(self, address)
        return made


def _owners(topology: Topology) -> list[Shard]:
    """Return the shards that own slots, in the order of their first slots."""
    return [shard for shard in dict.fromkeys(topology.slots) if shard is not None]
