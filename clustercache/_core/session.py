"""One connection's subscriptions: what was asked of its node, and what the node confirmed.

A node answers in the order of the commands, each of which names one subscription, so what an error
or a pong answers is known by its place. Three things come between the answers: messages, pushes
that are none of ours, and an unsubscribing that nobody asked for, by which a node says that it
serves a shard channel no longer. RESP3's pushes and RESP2's arrays are read alike.

Source: the RESP specification, "Pushes"; Redis Cluster specification, "Pub/Sub".
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import wire
from clustercache._core.messages import Kind, Subscription
from clustercache._core.wire import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MESSAGES = {kind.message.encode(): kind for kind in Kind}
_JOINED = {kind.joins.encode(): kind for kind in Kind}
_LEFT = {kind.leaves.encode(): kind for kind in Kind}


class What(Enum):
    """What came from the node."""

    MESSAGE = auto()
    JOINED = auto()
    LEFT = auto()
    EVICTED = auto()
    """Unsubscribed by the node itself."""
    REFUSED = auto()
    """`data` is the error that a subscribing got."""
    UNWELCOME = auto()
    """`data` is the error that the handshake got."""
    PONG = auto()
    """The answer to a ping of the user's."""
    NOTHING = auto()


class Received(NamedTuple):
    """One thing that came, and which subscription it is about."""

    what: What
    subscription: Subscription | None = None
    channel: bytes | None = None
    data: Any = None


_NOTHING = Received(What.NOTHING)


class _Ask(Enum):
    JOIN = auto()
    LEAVE = auto()
    PING = auto()
    USERS_PING = auto()
    HANDSHAKE = auto()
    OPTIONAL = auto()
    """A step of the handshake that may be refused."""


_Expected = tuple[_Ask, Subscription | None]
_STEPS = (_Ask.HANDSHAKE, _Ask.OPTIONAL)


class Session:
    """What one connection was asked, and what it confirmed."""

    __slots__ = ("_expected", "_pending", "asked", "confirmed")

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.asked: dict[Subscription, None] = {}
        self.confirmed: set[Subscription] = set()
        self._expected: deque[_Expected] = deque()
        self._pending: dict[Subscription, int] = {}

    # What is sent -----------------------------------------------------------------------------

    def shake_hands(self, steps: Sequence[tuple[tuple[Any, ...], bool]]) -> bytes:
        """Return the wire data of a handshake of (command, must it succeed) pairs."""
        self._expected += [
            (_Ask.HANDSHAKE if required else _Ask.OPTIONAL, None) for _, required in steps
        ]
        return wire.pack_many([command for command, _ in steps])

    def subscribe(self, subscriptions: Iterable[Subscription]) -> bytes:
        """Return the wire data that subscribes."""
        wanted = list(subscriptions)
        self.asked.update(dict.fromkeys(wanted))
        return self._ask(_Ask.JOIN, [(one.kind.joins.upper(), one) for one in wanted])

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> bytes:
        """Return the wire data that unsubscribes."""
        gone = list(subscriptions)
        for one in gone:
            self.asked.pop(one, None)
        return self._ask(_Ask.LEAVE, [(one.kind.leaves.upper(), one) for one in gone])

    def _ask(self, ask: _Ask, pairs: Sequence[tuple[str, Subscription]]) -> bytes:
        for _, subscription in pairs:
            self._expected.append((ask, subscription))
            self._pending[subscription] = self._pending.get(subscription, 0) + 1
        # One name each: shard channels of several slots are refused in one command.
        return wire.pack_many([(word, subscription.name) for word, subscription in pairs])

    def ping(self, message: bytes | None = None, *, told: bool = False) -> bytes:
        """Return the wire data of a PING; the user is `told` of its answer, or not."""
        self._expected.append((_Ask.USERS_PING if told else _Ask.PING, None))
        return wire.pack_many([("PING",) if message is None else ("PING", message)])

    # What it is -------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether the whole handshake is answered."""
        return not self._expected or self._expected[0][0] not in _STEPS

    @property
    def idle(self) -> bool:
        """Whether nothing is subscribed, and nothing that the user asked is on its way."""
        pinged = (_Ask.USERS_PING, None) in self._expected
        return not (self.asked or self.confirmed or self._pending or pinged)

    def holds(self, subscription: Subscription) -> bool:
        """Tell whether messages of a subscription, or an answer about it, may still come."""
        return subscription in self.confirmed or subscription in self._pending

    def in_force(self, subscription: Subscription) -> bool:
        """Tell whether a subscription is confirmed, and nothing about it is on its way."""
        return subscription in self.confirmed and subscription not in self._pending

    # What comes -------------------------------------------------------------------------------

    def take(self, reply: Any) -> Received:
        """Return what a reply or push is about."""
        if isinstance(reply, list) and reply and isinstance(reply[0], bytes):
            word = reply[0]
            kind = _MESSAGES.get(word)
            if kind is not None:
                subscription = Subscription(kind, reply[1])
                return Received(What.MESSAGE, subscription, reply[-2], reply[-1])
            if word in _JOINED:
                return self._joined(Subscription(_JOINED[word], reply[1]))
            if word in _LEFT:
                return self._left(Subscription(_LEFT[word], reply[1]))
            if word == b"pong":
                return self._answered(reply[-1])
        return _NOTHING if isinstance(reply, wire.Push) else self._answered(reply)

    def _joined(self, subscription: Subscription) -> Received:
        self._settle((_Ask.JOIN, subscription))
        self.confirmed.add(subscription)
        return Received(What.JOINED, subscription)

    def _left(self, subscription: Subscription) -> Received:
        ours = self._settle((_Ask.LEAVE, subscription))
        self.confirmed.discard(subscription)
        if ours:
            return Received(What.LEFT, subscription)
        self.asked.pop(subscription, None)
        return Received(What.EVICTED, subscription)

    def _settle(self, expected: _Expected) -> bool:
        """Tell whether this is what the node had to answer next, and take it as answered."""
        if not self._expected or self._expected[0] != expected:
            return False
        self._expected.popleft()
        self._answered_for(expected[1])
        return True

    def _answered_for(self, subscription: Subscription | None) -> None:
        if subscription is not None:
            self._pending[subscription] -= 1
            if not self._pending[subscription]:
                del self._pending[subscription]

    def _answered(self, reply: Any) -> Received:
        """Return what a reply means that does not say itself what it answers."""
        if not self._expected:
            return _NOTHING
        ask, subscription = self._expected.popleft()
        self._answered_for(subscription)
        refused = isinstance(reply, ServerError)
        if ask is _Ask.USERS_PING and not refused:
            return Received(What.PONG, data=b"" if reply == b"PONG" else reply)
        if ask is _Ask.HANDSHAKE and refused:
            return Received(What.UNWELCOME, data=reply)
        if subscription is None or not refused:
            return _NOTHING
        if ask is _Ask.JOIN:
            self.asked.pop(subscription, None)
            return Received(What.REFUSED, subscription, data=reply)
        # A node that serves the shard channel no longer has nothing to unsubscribe.
        self.confirmed.discard(subscription)
        return Received(What.LEFT, subscription)
