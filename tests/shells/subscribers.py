"""Pub/sub in a fake cluster: who is subscribed where, and what a test publishes."""

from __future__ import annotations

from time import monotonic

from clustercache._core.slots import key_slot
from clustercache.testing import error, push

KINDS = {"": "SUBSCRIBE", "p": "PSUBSCRIBE", "s": "SSUBSCRIBE"}


class Broker:
    """Lets the nodes of a fake cluster take subscriptions, and publishes to them."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.held = {}
        for node in cluster.nodes:
            for kind, word in KINDS.items():
                node.on(word, self._joins(node, kind))
                node.on(f"{kind}UNSUBSCRIBE", self._leaves(node, kind))

    def _joins(self, node, kind):
        def joins(command, connection):
            owner = self.cluster.owner(command[1])
            if kind == "s" and owner is not node:
                return error(f"MOVED {key_slot(command[1])} {owner.address}")
            self.held.setdefault((node, kind, command[1]), []).append(connection)
            return push(f"{kind}subscribe", command[1], 1)

        return joins

    def _leaves(self, node, kind):
        def leaves(command, connection):
            held = self.held.get((node, kind, command[1]), [])
            held[:] = [one for one in held if one is not connection]
            return push(f"{kind}unsubscribe", command[1], 0)

        return leaves

    def nodes_with(self, kind, name):
        """The nodes on which a name is subscribed to."""
        found = []
        for (node, one, held), connections in self.held.items():
            if (one, held) == (kind, name) and any(not c.closed for c in connections):
                found.append(node)
        return found

    def send(self, kind, name, *parts, node=None):
        """Send a message, to the subscribers on one node or on all."""
        for (at, one, held), connections in list(self.held.items()):
            if (one, held) == (kind, name) and node in {None, at}:
                for connection in connections:
                    if not connection.closed:
                        connection.send(push(f"{kind}message", name, *parts))

    def evict(self, name):
        """Unsubscribe a shard channel as a server does whose slot has moved."""
        for (_, kind, held), connections in list(self.held.items()):
            if (kind, held) == ("s", name):
                gone, connections[:] = connections[:], []
                for connection in gone:
                    connection.send(push("sunsubscribe", name, 0))


def messages(ps, count, timeout=5.0):
    """The next `count` messages."""
    found, limit = [], monotonic() + timeout
    while len(found) < count:
        assert monotonic() < limit, f"only {found} came"
        message = ps.get_message(timeout=0.1)
        found += [message] if message is not None else []
    return found


def types(ps, count):
    return [message["type"] for message in messages(ps, count)]


def drain(ps, condition, timeout=5.0):
    """Listen until a condition holds."""
    limit = monotonic() + timeout
    while not condition():
        assert monotonic() < limit, "the condition did not come true"
        ps.get_message(timeout=0.01)


def message(kind, pattern, channel, data):
    return {"type": kind, "pattern": pattern, "channel": channel, "data": data}
