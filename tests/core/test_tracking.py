"""Each rule of the near cache's coherence; none of them can be left out."""

from __future__ import annotations

import pytest

from clustercache._core.owners import changed, owners_of
from clustercache._core.slots import key_slot
from clustercache._core.tracking import ABSENT
from clustercache._core.vouching import Source
from tests.core.topologies import shard, topology
from tests.core.tracked import (
    SILENCE,
    WHOLE,
    coherence,
    health,
    keep,
    slots_reply,
    tracked,
)

K = b"key"
SLOT = key_slot(K)
OTHER = b"other"


@pytest.fixture
def state():
    return coherence()


@pytest.fixture
def source(state):
    return tracked(state)


def value_of(state, name=K, now=1.0):
    entry = state.hit(name, now)
    return entry and entry.value


# Hits ----------------------------------------------------------------------------------------


def test_what_was_read_is_served(state, source):
    entry = keep(state, source, K, "v")
    assert state.hit(K, 1.0) is entry
    assert (entry.key, entry.name, entry.value, entry.size) == (K, K, "v", 1)


def test_what_was_never_read_is_not_there(state):
    assert state.hit(K, 0.0) is None


def test_an_entry_ends_with_its_time_to_live_counted_from_the_claim(state, source):
    token = state.claim(K, source, 0.0)
    state.fill(token, "v", 2.0, ttl=5.0)
    assert value_of(state, now=4.9) == "v"
    assert value_of(state, now=5.0) is None


def test_what_has_ended_when_it_comes_is_not_kept(state, source):
    token = state.claim(K, source, 0.0)
    assert state.fill(token, "v", 5.0, ttl=5.0) is None


def test_an_entry_ends_with_the_largest_staleness(source):
    state = coherence(max_staleness=3.0)
    keep(state, tracked(state), K, "v")
    assert value_of(state, now=2.9) == "v"
    assert value_of(state, now=3.0) is None


def test_an_absence_is_kept_for_a_short_while(state, source):
    keep(state, source, K, None, absent=True)
    assert state.hit(K, ABSENT - 0.1) is not None
    assert state.hit(K, ABSENT) is None


def test_a_silent_source_is_not_believed(state, source):
    keep(state, source, K, "v")
    assert value_of(state, now=SILENCE - 0.1) == "v"
    assert value_of(state, now=SILENCE) is None


def test_a_heartbeat_renews_belief_from_when_it_was_sent(state, source):
    keep(state, source, K, "v")
    state.beat(source, health(4.0))
    assert value_of(state, now=4.0 + SILENCE - 0.1) == "v"
    assert value_of(state, now=4.0 + SILENCE) is None


def test_an_answer_that_lay_about_while_the_process_was_stopped_revives_nothing(state, source):
    keep(state, source, K, "v")
    state.beat(source, health(1.0))  # it was sent at 1, and is taken at 100
    assert value_of(state, now=100.0) is None


# Fills ---------------------------------------------------------------------------------------


def test_nothing_may_be_kept_before_a_source_is_tracked(state):
    assert state.claim(K, Source(), 0.0) is None


@pytest.mark.parametrize(
    "event",
    [
        lambda state, source: state.void([K]),
        lambda state, source: state.void_all(),
        lambda state, source: state.flushed(source),
        lambda state, source: state.lost(source),
        lambda state, source: state.tracked(source, health(1.0)),
        lambda state, source: state.moved([SLOT]),
        lambda state, source: state.beat(source, health(1.0, serving=False)),
        lambda state, source: state.beat(source, health(1.0, config_epoch=2)),
        lambda state, source: state.beat(
            source, health(1.0, slots=slots_reply([(0, 16383, b"b")]))
        ),
        lambda state, source: state.followed(
            topology((0, 16383, shard("a"))), topology((0, 16383, shard("b")))
        ),
    ],
    ids=["void", "clear", "flush", "lost", "tracked", "moved", "cut off", "epoch", "slots",
         "map"],
)  # fmt: skip
def test_what_voids_an_entry_voids_a_read_under_way_and_does_so_for_good(state, source, event):
    keep(state, source, K, "old")
    token = state.claim(K, source, 0.0)
    event(state, source)
    assert value_of(state) is None
    assert not state.stands(token)
    assert state.fill(token, "old", 1.0) is None
    state.release(token)
    assert value_of(state) is None
    state.tracked(source, health(1.0))
    assert value_of(state) is None


def test_an_invalidation_from_any_source_voids(state, source):
    keep(state, source, K, "v")
    other = tracked(state)
    state.flushed(other)
    assert value_of(state) == "v"
    state.void([K])
    assert value_of(state) is None


def test_reads_of_one_key_at_the_same_time_may_all_be_kept(state, source):
    first, second = state.claim(K, source, 0.0), state.claim(K, source, 0.1)
    assert state.fill(first, "v", 1.0)
    state.release(first)
    assert state.fill(second, "v", 1.0)
    state.release(second)
    assert not state.stands(second)


def test_a_read_begun_after_an_invalidation_does_not_revive_one_begun_before(state, source):
    before = state.claim(K, source, 0.0)
    state.void([K])
    after = state.claim(K, source, 1.0)
    assert state.fill(before, "old", 1.0) is None
    state.release(before)
    assert state.fill(after, "new", 1.0).value == "new"


@pytest.mark.parametrize("moving", ["source", "slot", "all"])
def test_a_read_begun_after_an_epoch_moved_has_a_token_of_its_own(state, source, moving):
    before = state.claim(K, source, 0.0)
    {
        "source": lambda: state.flushed(source),
        "slot": lambda: state.moved([SLOT]),
        "all": state.void_all,
    }[moving]()
    after = state.claim(K, source, 1.0)
    assert after is not before
    assert state.fill(before, "old", 1.0) is None
    assert state.fill(after, "new", 1.0) is not None


def test_a_read_on_another_source_has_a_token_of_its_own(state, source):
    other = tracked(state)
    old = state.claim(K, source, 0.0)
    new = state.claim(K, other, 0.0)
    assert state.fill(old, "old", 0.0) is None
    assert state.fill(new, "new", 0.0).source is other


@pytest.mark.parametrize("moved", [True, False], ids=["MOVED", "ASK"])
def test_what_a_redirect_leads_to_is_not_kept(state, source, moved):
    keep(state, source, K, "v")
    token = state.claim(K, source, 0.0)
    state.redirected(token, moved=moved)
    assert state.fill(token, "elsewhere", 0.0) is None
    state.redirected(token, moved=moved)
    state.release(token)
    assert value_of(state) == (None if moved else "v")


def test_a_token_that_was_given_back_is_spent(state, source):
    token = state.claim(K, source, 0.0)
    state.release(token)
    assert state.fill(token, "late", 0.0) is None


# Names ---------------------------------------------------------------------------------------


def test_an_invalidation_drops_a_key_under_all_its_names(state, source):
    for name in (("f", 1), ("f", "a", 1)):
        keep(state, source, K, "v", name=name)
    keep(state, source, K, "v")
    assert value_of(state, ("f", 1)) == "v"
    state.void([K, OTHER])
    assert not state.entries


def test_an_evicted_name_is_forgotten(state, source):
    one = keep(state, source, K, "v", name="one")
    keep(state, source, K, "v", name="two")
    plain = keep(state, source, K, "v")
    del state.entries["one"]
    state.evicted(one)
    state.evicted(plain)
    assert value_of(state, "two") == "v"
    state.drop("two")
    state.drop("two")
    assert value_of(state, "two") is None
    assert not state._names


def test_a_name_can_pass_from_one_key_to_another(state, source):
    keep(state, source, K, "v", name="n")
    keep(state, source, OTHER, "w", name="n")
    state.void([K])
    assert value_of(state, "n") == "w"
    state.void([OTHER])
    assert value_of(state, "n") is None


# Sources and slots ---------------------------------------------------------------------------


def test_a_source_that_was_lost_takes_no_reads_until_it_is_tracked_again(state, source):
    state.lost(source)
    assert state.claim(K, source, 0.0) is None
    state.tracked(source, health(1.0))
    assert state.claim(K, source, 1.0) is not None


def test_a_node_that_does_not_serve_takes_no_reads_until_it_does(state, source):
    state.beat(source, health(1.0, serving=False))
    assert state.claim(K, source, 1.0) is None
    state.beat(source, health(2.0))
    assert state.claim(K, source, 2.0) is not None
    fresh = Source()
    state.tracked(fresh, health(0.0, serving=False))
    assert state.claim(K, fresh, 0.0) is None


def test_the_same_slots_again_void_nothing(state, source):
    keep(state, source, K, "v")
    state.beat(source, health(1.0, slots=list(WHOLE)))
    assert value_of(state) == "v"


def test_only_slots_that_changed_hands_are_voided(state, source):
    keep(state, source, K, "v")
    keep(state, source, OTHER, "w")
    slot = key_slot(OTHER)
    split = [(0, slot - 1, b"a"), (slot, slot, b"b"), (slot + 1, 16383, b"a")]
    state.beat(source, health(1.0, slots=slots_reply(split)))
    assert value_of(state) == "v"
    assert value_of(state, OTHER) is None


def test_a_map_that_says_the_same_voids_nothing(state, source):
    keep(state, source, K, "v")
    state.followed(topology((0, 16383, shard("a"))), topology((0, 16383, shard("a"))))
    assert value_of(state) == "v"


def test_an_unanswered_ping_is_overdue_after_the_largest_silence(state):
    assert not state.overdue(1.0, 1.0 + SILENCE - 0.1)
    assert state.overdue(1.0, 1.0 + SILENCE)


def test_owners_are_known_by_id_or_else_by_address():
    owners = owners_of([[0, 0, [b"h", 1, b"id", []], [b"h", 2, b"r", []]], [2, 2, [b"h", 1]]])
    assert owners[:4] == [(b"id",), None, (b"h", 1), None]
    assert changed(owners, owners_of(None)) == [0, 2]
