"""Replies of CLUSTER SLOTS and CLUSTER NODES, written as servers write them."""

from __future__ import annotations

from clustercache._core.address import Address
from clustercache._core.topology import Claim, Node, Shard, Topology, View, parse_view

SLOTS = 16384


def address(name):
    """The address of the node called `name`: every node has its own host."""
    return Address(name, 7000)


def node(name, *, healthy=True):
    return Node(address(name), f"id-{name}", healthy)


def shard(primary, *replicas, epoch=0):
    return Shard(node(primary), tuple(map(node, replicas)), epoch)


def topology(*claims):
    """A snapshot from (start, end, shard) triples."""
    return Topology.of([Claim(*claim) for claim in claims])


def view(asked, *claims):
    return View(address(asked), tuple(Claim(*claim) for claim in claims))


def owners(known, *slots):
    """The names of the primaries that own these slots."""
    found = [known.slots[slot] for slot in slots]
    return [shard and shard.primary.address.host for shard in found]


def node_line(name, *, flags="master", epoch=1, link="connected"):
    return f"id-{name} {name}:7000@17000 {flags} - 0 0 {epoch} {link}"


def large_cluster(nodes):
    """The replies of a cluster of so many nodes, half of them primaries, in eight ranges each."""
    primaries = nodes // 2
    width = SLOTS // (primaries * 8)
    slots = [
        [
            number * width,
            number * width + width - 1,
            *(
                [f"{role}{number % primaries}".encode(), 7000, f"id-{role}{number % primaries}", []]
                for role in ("p", "r")
            ),
        ]
        for number in range(primaries * 8)
    ]
    lines = [
        node_line(f"{role}{number}", epoch=number + 1)
        for number in range(primaries)
        for role in ("p", "r")
    ]
    return slots, "\n".join(lines)


def parsed(asked, replies):
    return parse_view(*replies, address(asked))
