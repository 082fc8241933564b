"""What a node says of itself before it becomes part of a cluster."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from clustercache.admin.link import NodeLink, UnreachableError, parse_info
from clustercache.admin.nodes_text import parse_nodes
from clustercache.admin.plan import NodeFacts

if TYPE_CHECKING:
    from clustercache._core.address import Address


def gather_facts(link: NodeLink) -> NodeFacts:
    """Return what a plan has to know of this node; raises AdminError if it cannot be asked."""
    info = parse_info(link.call("INFO"))
    address = link.address
    host = resolve(address)
    if info.get("cluster_enabled") != "1":
        return NodeFacts(address=address, node_id="", host=host, cluster_enabled=False)
    lines = parse_nodes(link.call("CLUSTER", "NODES"), address.host)
    myself = next(line for line in lines if "myself" in line.flags)
    members = {line.node_id for line in lines if line.is_member}
    return NodeFacts(
        address=address,
        node_id=myself.node_id,
        host=host,
        keys=count_keys(info),
        primary_id=myself.primary_id,
        slots=myself.slots,
        known=frozenset(members - {myself.node_id}),
        bus_port=myself.bus_port,
        version=server_version(info),
    )


def count_keys(info: dict[str, str]) -> int:
    """Return how many keys all databases hold, from INFO's keyspace section."""
    databases = (value for value in info.values() if value.startswith("keys="))
    return sum(int(value.split(",")[0].removeprefix("keys=")) for value in databases)


def server_version(info: dict[str, str]) -> tuple[int, ...]:
    """Return the version from INFO's server section, as (major, minor, patch)."""
    text = info.get("valkey_version") or info.get("redis_version", "")
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def server_name(info: dict[str, str]) -> str:
    """Return the server's name and version, as "valkey 9.1.2"."""
    name = "valkey" if "valkey_version" in info else "redis"
    return f"{name} {'.'.join(map(str, server_version(info)))}"


def resolve(address: Address) -> str:
    """Return the IP address of a host: CLUSTER MEET takes no names."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachableError(f"{address}: the name {address.host} cannot be resolved") from error
    return str(found[0][4][0])


def can_reach(host: str, port: int, timeout: float = 1.0) -> bool:
    """Tell whether a TCP connection from this machine is accepted there."""
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True
