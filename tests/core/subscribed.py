"""Subscriptions, and connections that confirm them."""

from __future__ import annotations

from clustercache._core.messages import Kind, Subscription
from clustercache._core.subscriptions import Subscriptions, primaries
from clustercache._core.wire import Push, ServerError
from tests.core.topologies import SLOTS, address, shard, topology

LAST = SLOTS - 1
HALF = SLOTS // 2
A, B, C = map(address, "abc")
TWO = topology((0, HALF - 1, shard("a")), (HALF, LAST, shard("b")))
PROMOTED = topology((0, HALF - 1, shard("c")), (HALF, LAST, shard("b")))
NEWS = Subscription(Kind.CHANNEL, b"news")
PLAIN = Subscription(Kind.PATTERN, b"n*")
LOW = Subscription(Kind.SHARD, b"foo{bar}")  # slot 5061, of a
HIGH = Subscription(Kind.SHARD, b"foo")  # slot 12182, of b
KEYS = Subscription(Kind.PATTERN, b"__keyspace@0__:*")
MIXED = Subscription(Kind.PATTERN, b"__key*__:*")


def push(*items):
    made = Push()
    made.extend(items)
    return made


class Nodes:
    """Connections that do as they are told, and confirm at once unless they are silent."""

    def __init__(self, known=TWO):
        self.known = known
        self.state = Subscriptions()
        self.silent = set()
        self.now = 0.0

    def turn(self, known=None, *, order=None, avoid=()):
        self.known = known or self.known
        order = order or primaries(self.known)
        actions = self.state.reconcile(self.known, order=order, avoid=avoid, now=self.now)
        for node, joins, subscriptions in actions:
            session = self.state.sessions.get(node) or self.state.open(node)
            (session.subscribe if joins else session.unsubscribe)(subscriptions)
            if node not in self.silent:
                for one in subscriptions:
                    self.answer(node, one, joins=joins)
        return actions

    def answer(self, node, one, *, joins=True):
        word = one.kind.joins if joins else one.kind.leaves
        return self.state.received(node, push(word.encode(), one.name, 1))

    def want(self, *subscriptions, handler=None):
        for kind, name in subscriptions:
            self.state.want(kind, {name: handler})
        self.turn()

    def message(self, node, channel=b"c", one=NEWS, data=b"1"):
        parts = [one.name, channel] if one.kind is Kind.PATTERN else [one.name]
        self.state.received(node, push(one.kind.message.encode(), *parts, data))

    def refuse(self, node, one, text, jitter=1.0):
        came = self.state.received(node, ServerError(text))
        assert came.subscription == one
        return self.state.refused(
            node, came, backoff=(0.01, 0.1), now=self.now, jitter=jitter
        ).decision

    @property
    def told(self):
        events = [(event.type, event.channel, event.data) for event in self.state.events]
        self.state.events.clear()
        return events
