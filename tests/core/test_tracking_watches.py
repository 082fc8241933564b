"""Who watches a key is woken when it is void, or when nobody vouches for it any more."""

from __future__ import annotations

import pytest

from clustercache._core.slots import key_slot
from tests.core.topologies import shard, topology
from tests.core.tracked import coherence, health, keep, slots_reply, tracked

K = b"key"
OTHER = b"other"
SLOT = key_slot(K)


@pytest.fixture
def state():
    return coherence()


@pytest.fixture
def source(state):
    return tracked(state)


def wake():
    """Stand for somebody's waking."""


def other():
    """Stand for somebody else's."""


@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([OTHER, K]),
        lambda state, source: state.void_all(),
        lambda state, source: state.flushed(source),
        lambda state, source: state.lost(source),
        lambda state, source: state.moved([SLOT]),
        lambda state, source: state.redirected(state.claim(K, source, 0.0), moved=True),
        lambda state, source: state.beat(source, health(1.0, serving=False)),
        lambda state, source: state.beat(source, health(1.0, config_epoch=2)),
        lambda state, source: state.beat(
            source, health(1.0, slots=slots_reply([(SLOT, SLOT, b"b")]))
        ),
        lambda state, source: state.followed(
            topology((0, 16383, shard("a"))), topology((0, 16383, shard("b")))
        ),
    ],
    ids=["void", "clear", "flush", "lost", "moved", "MOVED", "cut off", "epoch", "slots", "map"],
)
def test_what_voids_a_key_wakes_who_watches_it_each_time(state, source, event):
    state.watches.add(K, wake)
    event(state, source)
    assert set(state.watches.take()) == {wake}
    assert state.watches.take() == []
    state.tracked(source, health(1.0))
    state.void([K])
    assert state.watches.take() == [wake]


@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([OTHER]),
        lambda state, source: state.moved([key_slot(OTHER)]),
        lambda state, source: state.moved([]),
        lambda state, source: state.beat(source, health(1.0)),
        lambda state, source: keep(state, source, K, "v"),
    ],
    ids=["void", "moved", "none moved", "beat", "fill"],
)
def test_nobody_is_woken_for_nothing(state, source, event):
    state.watches.add(K, wake)
    event(state, source)
    assert state.watches.take() == []


def test_a_source_that_vouches_for_nothing_wakes_nobody_when_it_is_lost_again(state, source):
    state.lost(source)
    state.watches.add(K, wake)
    state.lost(source)
    assert state.watches.take() == []


def test_each_watch_is_taken_back_for_itself(state):
    for each in (wake, wake, other):
        state.watches.add(K, each)
    state.watches.remove(K, wake)
    state.void([K])
    assert state.watches.take() == [wake, other]
    state.watches.remove(K, wake)
    state.watches.remove(K, wake)
    state.watches.remove(OTHER, wake)
    state.watches.remove(K, other)
    state.void([K])
    assert state.watches.take() == []
    assert not state.watches._wakes
