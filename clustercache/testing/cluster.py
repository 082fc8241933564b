"""Several fake servers that agree on a layout, and tell it as the nodes of a real cluster do.

The layout belongs to the `FakeCluster`; a test changes it, and every node's CLUSTER replies and
redirects follow at once, with a new epoch. A node that is to tell an outdated story gets a script:
`node.on("CLUSTER SLOTS", old)`, where `old = node.slots_reply()` from before.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from clustercache._core.slots import key_slot

from .nodes import SLOTS, FakeNode, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType


class FakeCluster:
    """A cluster of fake servers with a layout that the test can change.

    Each node is a `FakeServer`: scripts take precedence, everything received is recorded. Behind
    them is a small store, so GET, SET, DEL, MGET, MSET, INCR, EXISTS, EXPIRE and the common hash,
    list and set commands work, with MOVED, ASK, TRYAGAIN and CROSSSLOT where a real node says so.

    Args:
        primaries: How many shards; the slots are spread evenly over them.
        replicas: How many replicas each shard has.
        host: The address that all of them listen on.

    Example:
        with FakeCluster(primaries=2, replicas=1) as cluster:
            client = Cluster.from_url(cluster.url)
            client.set("k", "v")
            cluster.move("k", cluster.primaries[0])
            assert client.get("k") == b"v"
    """

    def __init__(self, primaries: int = 3, replicas: int = 0, *, host: str = "127.0.0.1") -> None:
        if not 1 <= primaries <= SLOTS:
            raise ValueError(f"primaries must be between 1 and {SLOTS}")
        self.epoch = 0
        self.shards: list[Shard] = []
        self._owners: list[Shard | None] = [None] * SLOTS
        self.lock = threading.RLock()  # each node has a thread; they share layout and data
        with ExitStack() as stack:
            for _ in range(primaries):
                shard = Shard()
                self.shards.append(shard)
                shard.nodes += [
                    stack.enter_context(FakeNode(self, shard, host=host))
                    for _ in range(1 + replicas)
                ]
            self._stack = stack.pop_all()
        for number, shard in enumerate(self.shards):
            first, end = (SLOTS * bound // primaries for bound in (number, number + 1))
            self._owners[first:end] = [shard] * (end - first)
            self._bump(shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all nodes; raise what a script function raised, unless the block raised itself."""
        self._stack.__exit__(kind, value, traceback)

    def close(self) -> None:
        """Close all nodes."""
        for node in self.nodes:
            node.close()

    # The layout

    @property
    def nodes(self) -> list[FakeNode]:
        """All nodes, shard by shard, each shard's primary first."""
        return [node for shard in self.shards for node in shard.nodes]

    @property
    def primaries(self) -> list[FakeNode]:
        """The primary of each shard."""
        return [shard.primary for shard in self.shards]

    @property
    def replicas(self) -> list[FakeNode]:
        """All nodes that are no primaries."""
        return [node for node in self.nodes if not node.is_primary]

    @property
    def url(self) -> str:
        """The URL of the first node."""
        return self.nodes[0].url

    @property
    def urls(self) -> list[str]:
        """The URLs of all nodes."""
        return [node.url for node in self.nodes]

    def shard_of(self, slot: int | bytes | str) -> Shard | None:
        """Return the shard that owns a slot (a number), or a key's slot (bytes or str)."""
        return self._owners[slot if isinstance(slot, int) else key_slot(slot)]

    def owner(self, slot: int | bytes | str) -> FakeNode:
        """Return the primary that owns a slot (a number), or a key's slot (bytes or str).

        Raises:
            LookupError: No one owns it.
        """
        shard = self.shard_of(slot)
        if shard is None:
            raise LookupError(f"slot {slot!r} has no owner")
        return shard.primary

    def slots_of(self, shard: Shard) -> list[int]:
        """Return the slots that a shard owns, in order."""
        return [slot for slot, owner in enumerate(self._owners) if owner is shard]

    # What a test does to it

    def move(self, slots: int | bytes | str | Iterable[int], to: FakeNode) -> None:
        """Give slots, and the keys in them, to another shard: MOVED from now on, in a new epoch.

        Args:
            slots: A slot, a range or other iterable of slots, or a key whose slot is meant.
            to: A node of the shard that gets them.
        """
        moving = set(_slot_numbers(slots))
        with self.lock:
            for source in self.shards:
                if source is not to.shard:
                    keys = [
                        key
                        for key in source.store.data
                        if key_slot(key) in moving and self.shard_of(key) is source
                    ]
                    source.store.move_to(to.shard.store, keys)
                    for slot in moving:
                        source.migrating.pop(slot, None)
            for slot in moving:
                self._owners[slot] = to.shard
            self._bump(to.shard)

    def migrate(self, slots: int | bytes | str | Iterable[int], to: FakeNode) -> None:
        """Leave slots half-moved: the source answers ASK for keys that it does not have.

        `move_keys` carries keys over, and `move` ends it.
        """
        with self.lock:
            for slot in _slot_numbers(slots):
                source = self._owners[slot]
                if source is None or source is to.shard:
                    raise ValueError(f"slot {slot} cannot migrate to where it is")
                source.migrating[slot] = to.shard

    def move_keys(self, *keys: bytes | str) -> None:
        """Carry keys of half-moved slots over to where their slots go."""
        with self.lock:
            for key in keys:
                name = key.encode() if isinstance(key, str) else key
                source = self.shard_of(name)
                target = source.migrating.get(key_slot(name)) if source else None
                if source is None or target is None:
                    raise ValueError("the key's slot is not migrating: call migrate() first")
                source.store.move_to(target.store, [name])

    def unassign(self, slots: int | bytes | str | Iterable[int]) -> None:
        """Take slots from their owner and give them to nobody: CLUSTERDOWN from now on."""
        with self.lock:
            for slot in _slot_numbers(slots):
                self._owners[slot] = None

    def promote(self, replica: FakeNode) -> None:
        """Make a replica its shard's primary, in a new epoch; the old primary becomes a replica."""
        with self.lock:
            nodes = replica.shard.nodes
            nodes[:] = [replica, *replica.replicas]
            self._bump(replica.shard)

    def fail(self, node: FakeNode) -> None:
        """Kill a node: its connections are dropped, new ones refused, and the others say "fail"."""
        node.stop_accepting()
        node.drop_connections()
        node.failed = True

    def recover(self, node: FakeNode) -> None:
        """Bring a failed node back, with the role that the layout gives it now."""
        node.failed = False
        node.start_accepting()

    def _bump(self, shard: Shard) -> None:
        self.epoch += 1
        shard.epoch = self.epoch


def _slot_numbers(slots: int | bytes | str | Iterable[int]) -> list[int]:
    if isinstance(slots, int):
        return [slots]
    if isinstance(slots, (bytes, str)):
        return [key_slot(slots)]
    return list(slots)
