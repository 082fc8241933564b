"""What may not be served is recalled, with how long it may have been untrue; never what is void."""

from __future__ import annotations

import pytest

from clustercache._core import vouching
from clustercache._core.slots import key_slot
from clustercache._core.tracking import ABSENT
from tests.core.tracked import SILENCE, coherence, health, keep, tracked

K = b"key"
TAG = b"#tag"
SLOT = key_slot(K)


@pytest.fixture
def state():
    return coherence()


@pytest.fixture
def source(state):
    return tracked(state)


def age(state, now, name=K):
    found = state.recall(name, now)
    return found and found[1]


def test_what_may_be_served_is_true(state, source):
    entry = keep(state, source, K, "v")
    assert state.recall(K, 1.0) == (entry, 0.0)


def test_what_was_never_kept_is_not_recalled(state):
    assert state.recall(K, 0.0) is None


def test_it_counts_from_the_end_of_its_time_to_live(state, source):
    keep(state, source, K, "v", ttl=5.0)
    state.beat(source, health(20.0))
    assert age(state, 25.0) == 20.0


def test_it_counts_from_the_end_of_an_absence(state, source):
    keep(state, source, K, None, absent=True)
    assert age(state, ABSENT + 2.0) == 2.0


def test_what_is_only_kept_no_longer_is_still_true():
    state = coherence(max_staleness=3.0)
    keep(state, tracked(state), K, "v")
    assert state.hit(K, 4.0) is None
    assert age(state, 4.0) == 0.0


def test_it_counts_from_the_last_sign_of_life(state, source):
    keep(state, source, K, "v")
    state.beat(source, health(4.0))
    assert age(state, 4.0 + SILENCE) == SILENCE


def test_a_read_after_the_last_sign_of_life_is_one_itself(state, source):
    keep(state, source, K, "v", 6.0)
    assert age(state, 20.0) == 14.0


@pytest.mark.parametrize("again", [False, True], ids=["away", "back"])
def test_it_counts_from_the_last_sign_of_life_before_the_loss(state, source, again):
    keep(state, source, K, "v")
    state.beat(source, health(4.0))
    state.lost(source)
    state.lost(source)
    if again:
        state.tracked(source, health(7.0))
    assert age(state, 9.0) == 5.0


def test_after_many_losses_it_counts_from_when_it_was_read(state, source):
    keep(state, source, K, "v", 2.0)
    for _ in range(vouching._REMEMBERED + 1):
        state.lost(source)
        state.tracked(source, health(5.0))
    assert len(source.ends) == vouching._REMEMBERED
    assert age(state, 9.0) == 7.0


def test_what_moved_counts_from_when_it_was_read(state, source):
    keep(state, source, K, "v", 2.0)
    state.moved([SLOT])
    assert age(state, 9.0) == 7.0


@pytest.mark.parametrize(
    "doubt",
    [
        lambda state, source: None,
        lambda state, source: state.lost(source),
        lambda state, source: state.moved([SLOT]),
    ],
    ids=["no", "lost", "moved"],
)
@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([K]),
        lambda state, source: state.void_all(),
        lambda state, source: state.flushed(source),
    ],
    ids=["void", "clear", "flush"],
)
def test_what_is_void_is_not_recalled(state, source, doubt, event):
    keep(state, source, K, "v")
    doubt(state, source)
    event(state, source)
    assert state.recall(K, 1.0) is None


def test_a_flush_by_the_successor_voids_what_is_doubtful(state, source):
    keep(state, source, K, "v")
    state.lost(source)
    state.flushed(tracked(state))
    assert state.recall(K, 1.0) is None


def test_a_flush_of_another_node_voids_nothing_that_is_true(state, source):
    keep(state, source, K, "v")
    state.flushed(tracked(state))
    assert age(state, 1.0) == 0.0


def test_it_is_as_old_as_the_oldest_that_it_depends_on(state, source):
    keep(state, source, TAG, b"token")
    keep(state, tracked(state), K, "v", depends=((TAG, b"token"),))
    assert age(state, 5.0) == 0.0
    state.lost(source)
    assert age(state, 5.0) == 5.0


@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([TAG]),
        lambda state, source: keep(state, source, TAG, b"new"),
        lambda state, source: state.flushed(source),
    ],
    ids=["void", "new", "flush"],
)
def test_it_is_not_recalled_without_what_it_depends_on(state, source, event):
    keep(state, source, TAG, b"token")
    keep(state, tracked(state), K, "v", depends=((TAG, b"token"),))
    event(state, source)
    assert state.recall(K, 1.0) is None
