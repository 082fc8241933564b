"""A coherence state to try things on, and a world of servers that it has to keep up with."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Any, NamedTuple

from clustercache._core.slots import key_slot
from clustercache._core.tracking import Coherence
from clustercache._core.vouching import Health, Source

SILENCE = 10
"""What `max_silence` is here, in ticks."""


def coherence(max_staleness=1000.0):
    return Coherence({}, max_silence=SILENCE, max_staleness=max_staleness)


def slots_reply(owners):
    """What CLUSTER SLOTS says, of (start, end, id) ranges."""
    return [[s, e, [b"127.0.0.1", 7000, name, []]] for s, e, name in owners]


WHOLE = slots_reply([(0, 16383, b"a")])


def health(sent=0.0, *, serving=True, slots=WHOLE, config_epoch=1):
    return Health(sent, serving, slots, config_epoch)


def tracked(state, sent=0.0, slots=WHOLE):
    """A source that may be read on."""
    source = Source()
    state.tracked(source, health(sent, slots=slots))
    return source


def keep(state, source, key, value, now=0.0, **options):
    """Read a key, as if the reply came at once."""
    token = state.claim(key, source, now)
    assert token is not None
    try:
        return state.fill(token, value, now, **options)
    finally:
        state.release(token)


class Message(NamedTuple):
    """What is on its way to the client."""

    kind: str
    about: Any = None
    data: Any = None


class Wire:
    """One connection: what is on its way, either way, and what the server tracks on it."""

    def __init__(self):
        self.requests, self.messages = deque(), deque()
        self.tracked = set()
        self.up = True


class World:
    """Nodes, and whose keys were what when. Each key has a slot of its own."""

    NODES = ("a", "b")
    KEYS = (b"k0", b"k1")

    def __init__(self):
        self.now = 0
        self.values = count(1)
        self.owner = {key: self.NODES[n % 2] for n, key in enumerate(self.KEYS)}
        self.data = {key: [(0, None)] for key in self.KEYS}
        self.epochs = dict.fromkeys(self.NODES, 1)
        self.wires = {node: Wire() for node in self.NODES}

    # What servers do -------------------------------------------------------------------------

    def put(self, key, value, *, told=True):
        """A key changes; its owner tells who read it."""
        self.data[key].append((self.now, value))
        if told:
            self.push(self.owner[key], key)

    def push(self, node, key):
        wire = self.wires[node]
        if wire.up and key in wire.tracked:
            wire.tracked.discard(key)
            wire.messages.append(Message("push", key))

    def flush(self, node):
        for key in self.KEYS:
            if self.owner[key] == node:
                self.put(key, None, told=False)
        wire = self.wires[node]
        if wire.up:
            wire.tracked.clear()
            wire.messages.append(Message("flushed"))

    def move(self, key, *, lost=False):
        """A slot changes hands, with its keys, or (Redis 6.2) without them and without a word."""
        source, target = self.owner[key], self.other(self.owner[key])
        exists = self.data[key][-1][1] is not None
        self.owner[key] = target
        self.epochs[target] = max(self.epochs.values()) + 1
        if lost:
            self.put(key, None, told=False)
        elif exists:
            self.push(source, key)
            self.push(target, key)

    def other(self, node):
        return self.NODES[1 - self.NODES.index(node)]

    def slots(self):
        claims = sorted((key_slot(key), owner.encode()) for key, owner in self.owner.items())
        return slots_reply([(slot, slot, owner) for slot, owner in claims])

    def serve(self, node):
        """Answer the next request on a connection."""
        wire = self.wires[node]
        kind, about, sent = wire.requests.popleft()
        if kind == "read":
            key = about.key
            if self.owner[key] != node:
                wire.messages.append(Message("moved", about))
                return
            wire.tracked.add(key)
            wire.messages.append(Message("value", about, self.data[key][-1][1]))
        else:
            answer = Health(sent, serving=True, slots=self.slots(), config_epoch=self.epochs[node])
            wire.messages.append(Message(kind, None, answer))

    def cut(self, node, arrived):
        """A connection breaks: only some of what was on its way arrives, and then its end."""
        wire = self.wires[node]
        wire.up = False
        wire.requests.clear()
        while len(wire.messages) > arrived:
            wire.messages.pop()
        wire.messages.append(Message("end"))

    # What was true ---------------------------------------------------------------------------

    def was_true(self, key, value, since):
        """Whether a key had a value at some moment from `since` on."""
        history = self.data[key]
        ends = [moment for moment, _ in history[1:]] + [self.now]
        return any(v == value and end >= since for (_, v), end in zip(history, ends, strict=True))

    def written(self, key):
        """How often a key changed."""
        return len(self.data[key])

    def true_from(self, key, value, version):
        return value in [v for _, v in self.data[key][version - 1 :]]
