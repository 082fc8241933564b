"""Follow redirects by hand, from a node that was named and without a map, as redis-cli -c does."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.decisions import Trouble, classify
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Refused, Silent
from clustercache._sync.connection import Connection
from clustercache.exceptions import AdminError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

_MOST_HOPS = 16


@dataclass(frozen=True, slots=True)
class Hop:
    """One node that was asked.

    Attributes:
        node: Its address.
        said: "reply", "error", or the redirect as the node worded it.
        seconds: From sending to the reply, on a connection that is open.
    """

    node: Address
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command: `reply` may be a `ServerError`."""

    hops: tuple[Hop, ...]
    reply: Any
    seconds: float


def follow(config: ClusterConfig, args: Sequence[Any], *, start: Address | None = None) -> Answer:
    """Send a command to one node, and wherever it is redirected to.

    Args:
        config: Credentials, TLS and limits.
        args: The command.
        start: The node to ask first; None takes the first seed.

    Raises:
        AdminError: A node does not answer, or the redirects do not end.
    """
    begin = monotonic()
    deadline = begin + config.deadline
    tls = config.tls.context() if config.tls else None
    node, asking = start or config.seeds[0], False
    hops: list[Hop] = []
    with ExitStack() as stack:
        connections: dict[Address, Connection] = {}
        while len(hops) < _MOST_HOPS:
            try:
                if node not in connections:
                    made = Connection(node, config, tls=tls)
                    connections[node] = stack.enter_context(closing(made))
                sent = monotonic()
                reply = _ask(connections[node], args, deadline, asking=asking)
            except (NotSent, NoReply, Silent, Refused) as error:
                raise AdminError(f"{node} {_trouble(error)}") from error
            hop, to, asking = _judge(node, reply, monotonic() - sent)
            hops.append(hop)
            if to is None:
                return Answer(tuple(hops), reply, monotonic() - begin)
            node = to
    msg = f"redirected {_MOST_HOPS} times without an end: the nodes do not agree; run check"
    raise AdminError(msg)


def _ask(connection: Connection, args: Sequence[Any], deadline: float, *, asking: bool) -> Any:
    connection.set_patience(max(deadline - monotonic(), 0.001))
    if not asking:
        return connection.exchange(wire.pack(tuple(args)), deadline)
    connection.send(wire.pack_many([("ASKING",), tuple(args)]), deadline)
    connection.read(deadline)
    return connection.read(deadline)


def _judge(node: Address, reply: Any, seconds: float) -> tuple[Hop, Address | None, bool]:
    """Return the hop, where to go on (None: nowhere), and whether ASKING goes first."""
    if not isinstance(reply, ServerError):
        return Hop(node, "reply", seconds), None, False
    event = classify(reply, node)
    if event.trouble not in {Trouble.MOVED, Trouble.ASK}:
        return Hop(node, "error", seconds), None, False
    return Hop(node, reply.text, seconds), event.to, event.trouble is Trouble.ASK


def _trouble(error: Exception) -> str:
    if isinstance(error, Refused):
        return f"refused the login: {error}"
    return f"does not answer: {error}"
