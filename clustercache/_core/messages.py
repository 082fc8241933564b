"""What pub/sub subscribes to, and what comes of it: redis-py's messages.

Names are bytes here, as on the wire. Keyspace notifications are published by the node on which the
key changed, and by it alone, so a subscription to them belongs on every primary; all other messages
of channels and patterns reach every node over the cluster bus.

Source: the documentation of Redis, "Pub/Sub", "Sharded Pub/Sub" and "Keyspace notifications".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._core.slots import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Handler = Callable[[dict[str, Any]], object]

GAP: Final = "gap"
"""The type of a message of our own: others may be missing."""
LOST: Final = "connection lost"
SILENT: Final = "node silent"
EVICTED: Final = "unsubscribed by the node"
CHANGED: Final = "topology changed"
FORKED: Final = "process forked"
BACK: Final = "subscribed again"

_KEYSPACE = (b"__keyspace@", b"__keyevent@")
_COMMON = b"__key"
_GLOB = b"*?[\\"


class Kind(Enum):
    """How a name is subscribed to; the value is what the commands' and messages' words begin with.

    Members are hashed by identity: each message looks some of them up.
    """

    CHANNEL = ""
    PATTERN = "p"
    SHARD = "s"

    __hash__ = object.__hash__

    @property
    def joins(self) -> str:
        """The command that subscribes, and the type of the message that confirms it."""
        return f"{self.value}subscribe"

    @property
    def leaves(self) -> str:
        """The command that unsubscribes, and the type of the message that confirms it."""
        return f"{self.value}unsubscribe"

    @property
    def message(self) -> str:
        """The type of its messages."""
        return f"{self.value}message"


class Subscription(NamedTuple):
    """One channel, pattern or shard channel."""

    kind: Kind
    name: bytes


class Event(NamedTuple):
    """What the user gets to see, in redis-py's fields, and who handles it instead."""

    type: str
    channel: bytes | None
    data: Any
    pattern: bytes | None = None
    handler: Handler | None = None


def is_keyspace(channel: bytes) -> bool:
    """Tell whether a channel is one of keyspace notifications."""
    return channel.startswith(_KEYSPACE)


def is_everywhere(subscription: Subscription) -> bool:
    """Tell whether a subscription is meant for keyspace notifications, which each primary has.

    A pattern is, where its plain beginning says so: ``__keyspace@0__:*`` and ``__key*__:*``, but
    not ``*``.
    """
    kind, name = subscription
    if kind is Kind.SHARD or not name.startswith(_COMMON):
        return False
    if kind is Kind.CHANNEL:
        return is_keyspace(name)
    plain = name[: next((at for at, byte in enumerate(name) if byte in _GLOB), len(name))]
    return any(plain.startswith(word) or word.startswith(plain) for word in _KEYSPACE)


def keyspace_pattern(family: str, what: Any, db: int, encoding: str) -> bytes:
    """Return the pattern of keyspace notifications.

    Args:
        family: "keyspace", whose channels are keys, or "keyevent", whose channels are events.
        what: A key's or an event's name, or a glob pattern of them.
        db: The database's number.
        encoding: The codec for str.
    """
    return f"__{family}@{db}__:".encode() + encode(what, encoding)


def named(
    args: Iterable[Any], handlers: Mapping[str, Handler], encoding: str, errors: str
) -> dict[bytes, Handler | None]:
    """Return the names, with their handlers, in the arguments of redis-py's `subscribe`.

    Args:
        args: Names, redis-py's `Subscription` objects, or a list of them as the first.
        handlers: Names with handlers.
        encoding: The codec for str.
        errors: The codec's error handler.
    """
    first, *rest = args or ((),)
    listed = first if isinstance(first, (list, tuple, set, frozenset)) else (first,)
    found: dict[bytes, Handler | None] = {}
    for arg in (*listed, *rest):
        # redis-py's Subscription, which its older releases do not have.
        handler = getattr(arg, "handler", None)
        found[encode(arg.name if hasattr(arg, "handler") else arg, encoding, errors)] = handler
    found.update({encode(name, encoding, errors): one for name, one in handlers.items()})
    return found


def shaped(event: Event, codec: tuple[str, str] | None) -> dict[str, Any]:
    """Return redis-py's dict of a message.

    Args:
        event: What came.
        codec: Decode its strings with this (encoding, errors), or None to leave bytes.
    """
    message = {
        "type": event.type,
        "pattern": event.pattern,
        "channel": event.channel,
        "data": event.data,
    }
    if codec is not None:
        for field, value in message.items():
            if isinstance(value, bytes):
                message[field] = value.decode(*codec)
    return message
