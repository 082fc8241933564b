"""Whatever happens to the nodes, subscriptions become whole again, and each gap has an end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from clustercache._core.messages import (
    BACK,
    LOST,
    Kind,
)
from clustercache._core.subscriptions import (
    nodes_of,
)
from clustercache._core.wire import ServerError
from tests.core.subscribed import (
    HALF,
    HIGH,
    KEYS,
    LOW,
    NEWS,
    PLAIN,
    PROMOTED,
    TWO,
    A,
    B,
    C,
    Nodes,
)
from tests.core.topologies import shard, topology

MAPS = (TWO, PROMOTED, topology((0, HALF - 1, shard("b"))))
ALL = (NEWS, PLAIN, LOW, HIGH, KEYS)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["wanted", "unwanted"]), st.sampled_from(ALL)),
    st.tuples(
        st.sampled_from(["lost", "muted", "evicted", "redirected"]), st.sampled_from([A, B, C])
    ),
    st.tuples(st.just("mapped"), st.sampled_from(range(len(MAPS)))),
)


class Weather(Nodes):
    """Nodes to which anything may happen, by the names of STEPS."""

    def mapped(self, number):
        self.turn(MAPS[number])

    def wanted(self, one):
        self.state.want(one.kind, {one.name: None})

    def unwanted(self, one):
        self.state.unwant(one.kind, [one.name])

    def lost(self, node):
        self.state.lost(node, LOST)

    def muted(self, node):
        self.silent ^= {node}
        self.lost(node)

    def evicted(self, node):
        session = self.state.sessions.get(node)
        if session is not None and node not in self.silent:
            for one in [one for one in session.confirmed if one.kind is Kind.SHARD]:
                self.answer(node, one, joins=False)

    def redirected(self, node):
        session = self.state.sessions.get(node)
        if session is not None and node in self.silent and session.asked:
            # It answers what was asked first, wanted or not by now.
            came = self.state.received(node, ServerError("MOVED 1 c:7000"))
            self.state.refused(node, came, backoff=(0.01, 0.1), now=self.now, jitter=0.0)

    def clears_up(self, known):
        for node in list(self.silent):
            self.muted(node)
        self.now = 1000.0
        self.turn(known)
        self.turn(known)

    def story_of(self, one):
        """Return "out", "whole" or "broken", which the user was told of a subscription at last."""
        now = "out"
        for event in self.state.events:
            if event.channel != one.name:
                continue
            if event.type == one.kind.leaves:
                now = "out"
            elif event.type == one.kind.joins:
                now = "whole" if now == "out" else now
            else:
                assert now == ("broken" if event.data == BACK else "whole")
                now = "whole" if event.data == BACK else "broken"
        return now


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40), st.sampled_from([0, 1]))
def test_whatever_happened_everything_wanted_is_whole_two_turns_later(steps, last):
    weather = Weather()
    for step, what in steps:
        getattr(weather, step)(what)
    last = MAPS[last]
    weather.clears_up(last)
    state = weather.state
    assert weather.turn(last) == []
    assert not state.leaving
    for one in ALL:
        places = nodes_of(one, last, state.home) if one in state.wanted else ()
        assert {n for n, s in state.sessions.items() if s.in_force(one)} == set(places)
        assert weather.story_of(one) == ("whole" if one in state.wanted else "out")
