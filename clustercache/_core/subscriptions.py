"""Desired state of pub/sub: what is wanted, where it belongs, and what is missing there.

A shard channel belongs on the primary of its slot; keyspace notifications belong on every primary;
any other channel or pattern on one primary, the *home*, for the cluster bus carries its messages to
every node. `reconcile()` compares that with what each connection was asked, and the difference is
what to do; nothing else subscribes or unsubscribes, whatever happened.

A subscription is *whole* while all of its nodes have confirmed it. The user is told when it becomes
whole for the first time (redis-py's "subscribe"), when it is no longer (a gap begins) and when it
is again (the gap ends: whoever reads the data anew now misses nothing).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import decisions
from clustercache._core.commands import Safety
from clustercache._core.decisions import Attempt, Call, Decision, Verb
from clustercache._core.messages import (
    BACK,
    CHANGED,
    EVICTED,
    FORKED,
    GAP,
    Event,
    Kind,
    Subscription,
    is_everywhere,
    is_keyspace,
)
from clustercache._core.session import Received, Session, What
from clustercache._core.slots import key_slot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from clustercache._core.address import Address
    from clustercache._core.messages import Handler
    from clustercache._core.topology import Topology
    from clustercache._core.wire import ServerError

_CALL = Call(Safety.READ, frozenset(Safety))
_REMEMBERED = 16
"""Refusals in a row that pauses are drawn from."""


# Where it belongs --------------------------------------------------------------------------------


class Action(NamedTuple):
    """What to ask of one node."""

    node: Address
    joins: bool
    """Whether to subscribe, or to unsubscribe."""
    subscriptions: tuple[Subscription, ...]


def primaries(topology: Topology) -> tuple[Address, ...]:
    """Return the address of each primary."""
    return tuple(dict.fromkeys(shard.primary.address for shard in topology.shards))


def choose_home(
    home: Address | None, order: Sequence[Address], avoid: Collection[Address]
) -> Address | None:
    """Return the node for what any node could serve: the one before, as long as it will do.

    Args:
        home: The one before, if any.
        order: The primaries, in an order that the caller's randomness chose.
        avoid: Nodes that could not be reached just now.
    """
    if home in order and home not in avoid:
        return home
    stays = home if home in order else next(iter(order), None)
    return next((node for node in order if node not in avoid), stays)


def nodes_of(
    subscription: Subscription, topology: Topology, home: Address | None
) -> tuple[Address, ...]:
    """Return the nodes that a subscription belongs on; none while its slot has no owner."""
    if subscription.kind is Kind.SHARD:
        shard = topology.slots[key_slot(subscription.name)]
        return (shard.primary.address,) if shard is not None else ()
    if is_everywhere(subscription):
        return primaries(topology)
    return (home,) if home is not None else ()


def reconcile(
    desired: Mapping[Address, Collection[Subscription]],
    actual: Mapping[Address, Collection[Subscription]],
) -> list[Action]:
    """Return what turns `actual` into `desired`: all that subscribes comes first."""
    nodes = {node: set(actual.get(node, ())) for node in (*desired, *actual)}
    joins = [
        Action(node, True, tuple(one for one in wanted if one not in nodes[node]))  # noqa: FBT003
        for node, wanted in desired.items()
    ]
    leaves = [
        Action(node, False, tuple(one for one in asked if one not in desired.get(node, ())))  # noqa: FBT003
        for node, asked in actual.items()
    ]
    return [action for action in (*joins, *leaves) if action.subscriptions]


# What is wanted ----------------------------------------------------------------------------------


class _Stage(Enum):
    JOINING = auto()
    WHOLE = auto()
    BROKEN = auto()


@dataclass(slots=True)
class _Wanted:
    handler: Handler | None
    stage: _Stage = _Stage.JOINING
    history: list[Attempt] = field(default_factory=list)
    not_before: float = 0.0


class Refusal(NamedTuple):
    """An error of a node, and what follows; `subscription` is None for the handshake."""

    error: ServerError
    event: decisions.Event
    decision: Decision
    subscription: Subscription | None = None


class Subscriptions:
    """One user's subscriptions on all nodes: wanted, asked and confirmed; and what came of them.

    The shell opens and closes connections, sends what `reconcile` says and hands in what comes.
    """

    def __init__(self) -> None:
        """Nothing is wanted yet."""
        self.wanted: dict[Subscription, _Wanted] = {}
        self.leaving: dict[Subscription, _Wanted] = {}
        self.sessions: dict[Address, Session] = {}
        self.events: deque[Event] = deque()
        self.home: Address | None = None
        self.stray = False
        """Whether a wanted subscription belongs nowhere: its slot has no owner."""
        self.spread = False
        """Whether one belongs on every primary, so that a new one must be looked for."""
        self.due: float | None = None
        """When what was refused is to be asked again."""
        self._topology: Topology | None = None
        self._in_force = {True: 0, False: 0}
        """As servers count, in messages of type "subscribe": shard channels, and all others."""

    @property
    def active(self) -> bool:
        """Whether something is subscribed, or to be told."""
        return bool(self.wanted or self.leaving or self.events)

    # The user ---------------------------------------------------------------------------------

    def want(self, kind: Kind, names: Mapping[bytes, Handler | None]) -> list[Subscription]:
        """Subscribe to names, each with its handler or None; return the subscriptions."""
        subscriptions = [Subscription(kind, name) for name in names]
        for subscription in subscriptions:
            handler = names[subscription.name]
            known = self.wanted.get(subscription)
            if subscription in self.leaving:
                self._tell_left(subscription, self.leaving.pop(subscription))
            if known is None:
                self.wanted[subscription] = _Wanted(handler)
                continue
            known.handler = handler
            if known.stage is not _Stage.JOINING:
                self._tell(kind.joins, subscription, self._in_force[_group(kind)])
        return subscriptions

    def unwant(self, kind: Kind, names: Iterable[bytes] | None = None) -> None:
        """Unsubscribe from names; None means all of this kind."""
        given = [one.name for one in self.wanted if one.kind is kind] if names is None else names
        subscriptions = [Subscription(kind, name) for name in given]
        for subscription in subscriptions:
            known = self.wanted.pop(subscription, None)
            if known is not None:
                self.leaving[subscription] = known
            elif subscription not in self.leaving:
                self._tell_left(subscription)
        if names is None and not subscriptions:
            self.events.append(Event(kind.leaves, None, self._in_force[_group(kind)]))
        self._tell_all_left(subscriptions)

    def joining(self, subscriptions: Iterable[Subscription]) -> bool:
        """Tell whether one of them is still to be confirmed for the first time."""
        found = (self.wanted.get(one) for one in subscriptions)
        return any(one is not None and one.stage is _Stage.JOINING for one in found)

    # The nodes --------------------------------------------------------------------------------

    def reconcile(
        self,
        topology: Topology,
        *,
        order: Sequence[Address],
        avoid: Collection[Address],
        now: float,
    ) -> list[Action]:
        """Return what to ask of which node.

        Args:
            topology: The snapshot in force.
            order: The primaries, in an order that the caller's randomness chose.
            avoid: Nodes that could not be reached just now.
            now: The clock, in seconds.
        """
        self._topology = topology
        self.home = choose_home(self.home, order, avoid)
        self.stray, self.spread, self.due = False, False, None
        desired: dict[Address, dict[Subscription, None]] = {}
        for subscription, wanted in self.wanted.items():
            nodes = nodes_of(subscription, topology, self.home)
            self.stray |= not nodes
            self.spread |= is_everywhere(subscription)
            held = wanted.not_before > now
            if held:
                self.due = min(self.due or wanted.not_before, wanted.not_before)
            for node in nodes:
                session = self.sessions.get(node)
                if not held or (session is not None and subscription in session.asked):
                    desired.setdefault(node, {})[subscription] = None
            self._assess(subscription, CHANGED)
        return reconcile(desired, {node: one.asked for node, one in self.sessions.items()})

    def open(self, node: Address) -> Session:
        """Return the state of a new connection to a node."""
        self.sessions[node] = session = Session()
        return session

    def lost(self, node: Address, reason: str) -> None:
        """Take note that a node's connection is closed."""
        session = self.sessions.pop(node, None)
        if session is not None:
            for subscription in [one for one in self.wanted if one in session.confirmed]:
                self._assess(subscription, reason)
            self._tell_all_left(list(self.leaving))

    def forked(self) -> None:
        """Begin anew in a child: the parent keeps the connections, and what came on them."""
        self.events.clear()
        for node in list(self.sessions):
            self.lost(node, FORKED)

    # What comes -------------------------------------------------------------------------------

    def received(self, node: Address, reply: Any) -> Received:
        """Take in a reply or push of a node; what the user is to see is in `events` then."""
        came = self.sessions[node].take(reply)
        subscription = came.subscription
        if came.what is What.MESSAGE:
            self._message(node, came)
        elif came.what is What.PONG:
            self.events.append(Event("pong", None, came.data))
        elif subscription is not None and came.what is not What.REFUSED:
            if subscription in self.wanted:
                self._assess(subscription, EVICTED)
            self._tell_all_left([subscription])
        return came

    def _message(self, node: Address, came: Received) -> None:
        subscription, channel = came.subscription, came.channel
        assert subscription is not None  # noqa: S101 - a message has one
        assert channel is not None  # noqa: S101
        known = self.wanted.get(subscription) or self.leaving.get(subscription)
        if known is None or self._comes_twice(node, subscription, channel):
            return
        pattern = subscription.name if subscription.kind is Kind.PATTERN else None
        event = Event(subscription.kind.message, channel, came.data, pattern, known.handler)
        self.events.append(event)

    def _comes_twice(self, node: Address, subscription: Subscription, channel: bytes) -> bool:
        """Tell whether a message that the bus carries everywhere comes from the home as well."""
        if node == self.home or self.home is None or subscription.kind is Kind.SHARD:
            return False
        if is_keyspace(channel):
            return False
        home = self.sessions.get(self.home)
        return home is not None and subscription in home.confirmed

    def refused(
        self,
        node: Address,
        came: Received,
        *,
        backoff: tuple[float, float],
        now: float,
        jitter: float,
    ) -> Refusal:
        """Return what follows from an error; what the server refuses for good is wanted no more.

        Args:
            node: Who refused.
            came: What was refused, a subscribing or the handshake, and the error.
            backoff: (first, longest) pause in seconds.
            now: The clock, in seconds.
            jitter: A random number from 0 to 1.
        """
        event = decisions.classify(came.data, node)
        subscription = came.subscription
        known = self.wanted.get(subscription) if subscription is not None else None
        history = known.history if known is not None else []
        decision = decisions.decide(event, _CALL, history, backoff=backoff, jitter=jitter)
        if known is not None and subscription is not None:
            known.history = [*history, Attempt(event, 0.0)][-_REMEMBERED:]
            known.not_before = now + decision.pause
            if decision.verb is not Verb.SEND:
                self._forget(subscription.kind, self.wanted.pop(subscription))
            else:
                self._assess(subscription, EVICTED)
        elif subscription is not None:
            self._tell_all_left([subscription])
        return Refusal(came.data, event, decision, subscription)

    # What is told -----------------------------------------------------------------------------

    def _assess(self, subscription: Subscription, reason: str) -> None:
        """Tell the user if a wanted subscription became whole, or is no longer."""
        known = self.wanted[subscription]
        whole = self._is_whole(subscription)
        if whole:
            known.history.clear()
            known.not_before = 0.0
        if whole and known.stage is _Stage.JOINING:
            known.stage = _Stage.WHOLE
            group = _group(subscription.kind)
            self._in_force[group] += 1
            self._tell(subscription.kind.joins, subscription, self._in_force[group])
        elif whole and known.stage is _Stage.BROKEN:
            known.stage = _Stage.WHOLE
            self._tell(GAP, subscription, BACK)
        elif not whole and known.stage is _Stage.WHOLE:
            known.stage = _Stage.BROKEN
            self._tell(GAP, subscription, reason)

    def _is_whole(self, subscription: Subscription) -> bool:
        if self._topology is None:
            return False
        nodes = nodes_of(subscription, self._topology, self.home)
        sessions = [self.sessions.get(node) for node in nodes]
        return bool(nodes) and all(s is not None and s.in_force(subscription) for s in sessions)

    def _tell(self, kind: str, subscription: Subscription, data: Any) -> None:
        self.events.append(Event(kind, subscription.name, data))

    def _tell_left(self, subscription: Subscription, known: _Wanted | None = None) -> None:
        kind = subscription.kind
        if known is not None:
            self._forget(kind, known)
        self._tell(kind.leaves, subscription, self._in_force[_group(kind)])

    def _tell_all_left(self, subscriptions: Iterable[Subscription]) -> None:
        """Tell of those among them that are to be left, and that no node holds any more."""
        for subscription in subscriptions:
            held = any(session.holds(subscription) for session in self.sessions.values())
            if subscription in self.leaving and not held:
                self._tell_left(subscription, self.leaving.pop(subscription))

    def _forget(self, kind: Kind, known: _Wanted) -> None:
        if known.stage is not _Stage.JOINING:
            self._in_force[_group(kind)] -= 1


def _group(kind: Kind) -> bool:
    return kind is Kind.SHARD
