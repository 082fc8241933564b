"""Which nodes a command without a key goes to."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from clustercache._core.address import Address
from clustercache._core.commands import Route
from clustercache.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from clustercache._core.topology import Topology

_FLAGS = {"primaries", "replicas", "all", "random", "default-node"}


def addresses_of(
    targets: Any, route: Route, topology: Topology | None
) -> list[tuple[Address, int | None]]:
    """Return the nodes meant; a primary comes with one of its slots, so that its successor serves.

    Args:
        targets: None to follow `route`; one of redis-py's flags ("primaries", "replicas",
            "all", "random", "default-node"); or a node, "host:port", (host, port), an object with
            `host` and `port`, or a list or dict of these.
        route: Where the command goes by itself.
        topology: The snapshot in force.

    Raises:
        InvalidArgumentError: `targets` is none of these, or names a node that is not there.
    """
    claims = topology.claims() if topology else []
    slots = {claim.shard.primary.address: claim.start for claim in reversed(claims)}
    shards = dict.fromkeys(claim.shard for claim in claims)
    primaries: list[tuple[Address, int | None]] = [
        (shard.primary.address, slots[shard.primary.address]) for shard in shards
    ]
    replicas = [node.address for shard in shards for node in shard.replicas if node.healthy]
    if targets is None:
        targets = "all" if route is Route.NODES else "primaries"
    if isinstance(targets, str) and targets in _FLAGS:
        others: list[tuple[Address, int | None]] = [(address, None) for address in replicas]
        groups = {"primaries": primaries, "replicas": others, "all": [*primaries, *others]}
        if targets == "random":
            return [random.choice(_some(groups["all"]))]  # noqa: S311 - no secret
        return _some(groups.get(targets, primaries[:1]))
    known = topology.nodes if topology else {}
    chosen = [_address(target) for target in _listed(targets)]
    for address in chosen:
        if address not in known:
            msg = f"target names {address}, which is not a node of this cluster"
            raise InvalidArgumentError(msg)
    return _some([(address, slots.get(address)) for address in chosen])


def _some(nodes: list[tuple[Address, int | None]]) -> list[tuple[Address, int | None]]:
    if not nodes:
        msg = "no node of this cluster is meant by target"
        raise InvalidArgumentError(msg)
    return nodes


def _listed(targets: Any) -> list[Any]:
    if isinstance(targets, dict):
        return list(targets.values())
    one = isinstance(targets, tuple) and bool(targets) and isinstance(targets[-1], int)
    return list(targets) if isinstance(targets, (list, tuple)) and not one else [targets]


def _address(target: Any) -> Address:
    try:
        if isinstance(target, str):
            return Address.parse(target)
        if isinstance(target, tuple):
            return Address(*target)
        return Address(target.host, int(target.port))
    except (AttributeError, TypeError, ValueError):
        msg = "target must be a flag, a node, 'host:port', or a list of nodes"
        raise InvalidArgumentError(msg) from None
