"""Whatever is delayed, reordered, lost or moved: a hit is never older than the largest silence."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clustercache._core.vouching import Source
from tests.core.tracked import SILENCE, Wire, World, coherence

KEYS = st.sampled_from(World.KEYS)
NODES = st.sampled_from(World.NODES)


class NearCache(RuleBasedStateMachine):
    """A near cache, two nodes, a connection to each, and others who write."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.state = coherence()
        self.sources = {node: Source() for node in World.NODES}
        self.pinged = dict.fromkeys(World.NODES)
        self.reading = dict.fromkeys(World.NODES, ())
        self.answered = []
        self.writing = set()
        self.least = dict.fromkeys(World.KEYS, 1)
        for node in World.NODES:
            self.connect(node)
            self._drain(node)
        for key in World.KEYS:
            self.world.put(key, next(self.world.values))

    # The client's side ------------------------------------------------------------------------

    def connect(self, node):
        self.world.wires[node] = Wire()
        self.reading[node] = []
        self.ask(node, "tracked")

    def ask(self, node, kind):
        self.pinged[node] = self.world.now
        self.world.wires[node].requests.append((kind, None, self.world.now))

    @rule(key=KEYS, node=NODES)
    def read(self, key, node):
        token = self.state.claim(key, self.sources[node], self.world.now)
        if token is not None and self.world.wires[node].up:
            self.reading[node].append(token)
            self.world.wires[node].requests.append(("read", token, None))
        elif token is not None:
            self.state.release(token)

    @rule(node=NODES)
    def heartbeat(self, node):
        if self.pinged[node] is None and self.world.wires[node].up:
            self.ask(node, "beat")

    @rule(node=NODES)
    def hear(self, node):
        wire = self.world.wires[node]
        if wire.messages:
            message = wire.messages.popleft()
            getattr(self, f"_on_{message.kind}")(node, message.about, message.data)

    def _on_push(self, _, key, __):
        self.state.void([key])

    def _on_flushed(self, node, _, __):
        self.state.flushed(self.sources[node])

    def _on_value(self, node, token, value):
        self.reading[node].remove(token)
        self.answered.append((token, value))

    def _on_moved(self, node, token, _):
        self.reading[node].remove(token)
        self.state.redirected(token, moved=True)
        self.state.release(token)

    def _on_beat(self, node, _, answer):
        self.pinged[node] = None
        self.state.beat(self.sources[node], answer)

    def _on_tracked(self, node, _, answer):
        self.pinged[node] = None
        self.state.tracked(self.sources[node], answer)

    def _on_end(self, node, _, __):
        self.state.lost(self.sources[node])
        for token in self.reading[node]:
            self.state.release(token)
        self.connect(node)

    @rule(node=NODES)
    def give_up_what_is_silent(self, node):
        sent = self.pinged[node]
        if sent is not None and self.state.overdue(sent, self.world.now):
            self.world.wires[node].messages.clear()
            self._on_end(node, None, None)

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def keep(self, data):
        index = data.draw(st.integers(0, len(self.answered) - 1))
        self._keep(self.answered.pop(index))

    def _keep(self, answer):
        token, value = answer
        self.state.fill(token, value, self.world.now)
        self.state.release(token)

    @rule(key=KEYS)
    def read_and_keep(self, key):
        """Do in one step what otherwise takes four that have to meet."""
        node = self.world.owner[key]
        self._drain(node)
        self.read(key, node)
        self._drain(node)
        while self.answered:
            self._keep(self.answered.pop())

    @rule(key=KEYS, event=st.sampled_from(["write", "flush", "move", "clear"]), early=st.booleans())
    def race(self, key, event, early):
        """Let something happen between a read's answer and its being kept, or before both."""
        node = self.world.owner[key]
        self._drain(node)
        self.read(key, node)
        self._serve(node)
        if early:
            self._drain(node)
        {
            "write": lambda: self.world.put(key, next(self.world.values)),
            "flush": lambda: self.world.flush(node),
            "move": lambda: self.world.move(key),
            "clear": self.clear,
        }[event]()
        self.heartbeat(node)
        self._drain(node)
        while self.answered:
            self._keep(self.answered.pop())

    @rule()
    def clear(self):
        self.state.void_all()
        for key in World.KEYS:
            self.least[key] = self.world.written(key)

    @rule(key=KEYS)
    def begin_a_write(self, key):
        self.state.void([key])
        self.writing.add(key)

    @precondition(lambda self: self.writing)
    @rule(data=st.data())
    def write_and_end(self, data):
        key = data.draw(st.sampled_from(sorted(self.writing)))
        self.writing.discard(key)
        self.world.put(key, next(self.world.values))
        self.state.void([key])
        self.least[key] = self.world.written(key)

    # The servers' -----------------------------------------------------------------------------

    @rule(node=NODES)
    def serve(self, node):
        if self.world.wires[node].requests:
            self.world.serve(node)

    @rule(key=KEYS)
    def somebody_writes(self, key):
        self.world.put(key, next(self.world.values))

    @rule(node=NODES)
    def somebody_flushes(self, node):
        self.world.flush(node)

    @rule(key=KEYS, lost=st.booleans())
    def slot_moves(self, key, lost):
        self.read_and_keep(key)
        self.world.move(key, lost=lost)

    @rule(key=KEYS)
    def slot_moves_there_and_back(self, key):
        """Nobody is told, and CLUSTER SLOTS says the same as before."""
        self.read_and_keep(key)
        self.world.move(key, lost=True)
        self.world.move(key, lost=True)

    @rule(node=NODES, arrived=st.integers(0, 3))
    def connection_breaks(self, node, arrived):
        if self.world.wires[node].up:
            self.world.cut(node, arrived)

    @rule(ticks=st.integers(1, 3 * SILENCE))
    def time_passes(self, ticks):
        self.world.now += ticks

    # What must hold ---------------------------------------------------------------------------

    @invariant()
    def no_hit_is_too_old(self):
        for key in World.KEYS:
            self._look(key)

    def _look(self, key):
        entry = self.state.hit(key, self.world.now)
        if entry is None:
            return
        since = self.world.now - SILENCE
        assert self.world.was_true(key, entry.value, since), "older than the bound"
        assert self.world.true_from(key, entry.value, self.least[key]), "an own write undone"

    @rule()
    def come_to_rest(self):
        """Everything arrives: what is served then is true."""
        for _ in range(3):
            for node in World.NODES:
                self._drain(node)
                self.heartbeat(node)
        for key in World.KEYS:
            entry = self.state.hit(key, self.world.now)
            assert entry is None or entry.value == self.world.data[key][-1][1]

    def teardown(self):
        self.come_to_rest()
        while self.answered:
            self.state.release(self.answered.pop()[0])
        assert not self.state._inflight

    def _serve(self, node):
        while self.world.wires[node].requests:
            self.world.serve(node)

    def _drain(self, node):
        while True:
            wire = self.world.wires[node]
            self._serve(node)
            if not wire.messages:
                return
            self.hear(node)


NearCache.TestCase.settings = settings(max_examples=300, stateful_step_count=50)
test_no_hit_is_older_than_the_bound = NearCache.TestCase
