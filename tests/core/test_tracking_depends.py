"""An entry that depends on others is served only while each may be, and has the same value."""

from __future__ import annotations

import pytest

from clustercache._core.slots import key_slot
from tests.core.tracked import SILENCE, coherence, health, keep, tracked

K = b"key"
TAG = b"#tag"
OTHER = b"#other"


@pytest.fixture
def state():
    return coherence()


@pytest.fixture
def source(state):
    """Of the tags."""
    return tracked(state)


@pytest.fixture
def entry(state, source):
    keep(state, source, TAG, b"token")
    keep(state, source, OTHER, b"2nd")
    return keep(state, tracked(state), K, "v", depends=((TAG, b"token"), (OTHER, b"2nd")), cost=70)


def test_it_is_served_while_all_that_it_depends_on_is(state, entry):
    assert state.hit(K, 1.0) is entry
    assert entry.cost == 70


@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([TAG]),
        lambda state, source: state.void([OTHER]),
        lambda state, source: keep(state, source, TAG, b"new"),
        lambda state, source: keep(state, source, TAG, None, absent=True),
        lambda state, source: state.flushed(source),
        lambda state, source: state.lost(source),
        lambda state, source: state.moved([key_slot(TAG)]),
    ],
    ids=["void", "void another", "new value", "absent", "flush", "lost", "moved"],
)
def test_it_is_not_served_when_one_may_not_be_or_has_another_value(state, source, entry, event):
    event(state, source)
    assert state.hit(K, 1.0) is None


def test_it_is_not_served_when_the_source_of_one_is_silent(state, source, entry):
    state.beat(entry.source, health(5.0))
    assert state.hit(K, SILENCE - 0.1) is entry
    assert state.hit(K, SILENCE) is None


def test_it_is_served_again_when_what_it_depends_on_is_known_again_and_the_same(
    state, source, entry
):
    state.lost(source)
    state.tracked(source, health(1.0))
    assert state.hit(K, 1.0) is None
    keep(state, source, TAG, b"token", 1.0)
    keep(state, source, OTHER, b"2nd", 1.0)
    assert state.hit(K, 1.0) is entry
