r"""A scripted server and a fake cluster, for tests of what real servers seldom do.

Both are real TCP servers on loopback that speak RESP2 and RESP3, so any client can be tested with
them, in any language. A test says what is answered, and looks at what came in:

    with FakeServer() as node:
        node.on("GET", [error("ASK 42 127.0.0.1:7001"), b"value"])     # in order; the last repeats
        node.on("SET", delay(0.5, simple("OK")))
        node.on("INCR", close_before_reply())                          # executed? who knows
        node.on("MGET", partial(b"*2\r\n$1\r\na\r\n$9\r\nhalf"))    # and then silence
        node.on("ECHO", lambda command, connection: command[1])
        ...
        node.wait_for(lambda: node.received("GET"))

    with FakeCluster(primaries=2, replicas=1) as cluster:
        a, b = cluster.primaries
        cluster.move(42, b)             # MOVED from now on, and a new epoch
        cluster.migrate(43, b)          # half-moved: ASK, and TRYAGAIN for keys in both places
        cluster.promote(a.replicas[0])  # a failover

Nothing here is part of the client, so that a fault in one cannot hide in the other.
"""

from .actions import (
    Action,
    close_after_reply,
    close_before_reply,
    delay,
    partial,
    reset,
    silence,
)
from .cluster import FakeCluster
from .connections import Command, Connection
from .nodes import FakeNode
from .replies import (
    Reply,
    array,
    bulk,
    error,
    integer,
    null,
    push,
    raw,
    reply,
    simple,
    verbatim,
)
from .server import FakeServer

__all__ = [
    "Action",
    "Command",
    "Connection",
    "FakeCluster",
    "FakeNode",
    "FakeServer",
    "Reply",
    "array",
    "bulk",
    "close_after_reply",
    "close_before_reply",
    "delay",
    "error",
    "integer",
    "null",
    "partial",
    "push",
    "raw",
    "reply",
    "reset",
    "silence",
    "simple",
    "verbatim",
]
