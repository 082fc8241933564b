"""What a store does, in process and at a cluster, blocking and asynchronous: one table for all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from clustercache.exceptions import (
    SessionGoneError,
    SessionLimitError,
    SessionTooLargeError,
)
from clustercache.sessions import Session
from tests.sessions.stores import Told, expire, memory_of

pytestmark = pytest.mark.live


def test_what_is_created_is_loaded_by_its_token(store):
    made = store.create({"cart": ["apple"], "n": 1})
    again = store.load(made.token)
    assert isinstance(again, Session)
    assert dict(again) == {"cart": ["apple"], "n": 1}
    assert again.public_id == made.public_id
    assert not again.is_new
    assert not again.stale
    assert not again.modified


def test_a_session_tells_its_times(store):
    made = store.load(store.create({"a": 1}, user="u").token)
    now = datetime.now(UTC)
    for moment in (made.created, made.last_seen, made.auth_time):
        assert abs(moment - now) < timedelta(seconds=30)
    assert abs(made.expires - now - timedelta(days=1)) < timedelta(seconds=30)
    assert made.user == "u"
    assert made.idle == 1800


def test_an_empty_new_session_is_never_written(store):
    new = store.new()
    saved = store.save(new)
    assert saved == (None, False, None)
    assert new.token is None
    assert new.is_new
    assert store.count() == 0


def test_a_new_session_gets_its_token_once(store):
    new = store.new()
    new["a"] = 1
    assert store.save(new).set_token == new.token
    new["a"] = 2
    assert store.save(new).set_token is None
    assert store.load(new.token)["a"] == 2


def test_a_change_deep_inside_a_value_is_saved(store):
    made = store.create({"cart": {"items": [1]}})
    again = store.load(made.token)
    again["cart"]["items"].append(2)
    assert again.modified
    store.save(again)
    assert store.load(made.token)["cart"] == {"items": [1, 2]}


def test_changes_of_different_fields_both_survive(store):
    made = store.create({"a": 1, "b": 1})
    first, second = store.load(made.token), store.load(made.token)
    first["a"], second["b"] = 2, 3
    del second["b"]
    store.save(first)
    store.save(second)
    assert dict(store.load(made.token)) == {"a": 2}


def test_increments_and_appends_of_several_all_count(store):
    made = store.create({"n": 1, "log": ["a"]})
    both = [store.load(made.token) for _ in range(2)]
    for number, one in enumerate(both):
        assert one.incr("n") == 2
        assert one.incr("new", 5) == 5
        one.append("log", number)
        store.save(one)
    assert dict(store.load(made.token)) == {"n": 3, "log": ["a", 0, 1], "new": 10}
    assert both[1]["n"] == 3


def test_an_increment_that_comes_to_the_old_value_again_is_not_lost(store):
    made = store.create({"n": 5})
    one, other = store.load(made.token), store.load(made.token)
    one.incr("n", -2)
    other["n"] = 7
    store.save(other)
    store.save(one)
    assert store.load(made.token)["n"] == 5
    assert one["n"] == 5


def test_a_logged_out_session_is_gone_and_never_comes_back(store):
    made = store.create({"a": 1}, user="u")
    slow = store.load(made.token)
    slow["a"] = 2
    assert store.delete(made) == (None, True, made_acknowledged(store))
    assert made.token is None
    with pytest.raises(SessionGoneError, match=slow.public_id):
        store.save(slow)
    assert store.load(str(slow.token)) is None
    assert store.sessions_of("u") == []


def made_acknowledged(store):
    return 0 if store.client is None else 1


def test_a_flushed_session_ends_and_what_is_set_then_is_a_new_one(store):
    made = store.create({"a": 1})
    token = made.token
    made.flush()
    assert made.ended
    assert len(made) == 0
    made["b"] = 2
    assert not made.ended
    saved = store.save(made)
    assert not saved.ended
    assert saved.set_token == made.token != token
    assert store.load(token) is None
    assert dict(store.load(made.token)) == {"b": 2}


def test_what_follows_a_flush_has_the_stores_own_idle_limit(store):
    made = store.load(store.create({"a": 1}, idle=5000).token)
    made.flush()
    made["b"] = 1
    store.save(made)
    assert store.load(made.token).idle == 1800


def test_the_idle_limit_of_one_session_is_kept(store):
    made = store.create({"a": 1}, idle=5000)
    again = store.load(made.token)
    assert again.idle == 5000
    again.idle = 100
    assert again.modified
    store.save(again)
    assert store.load(made.token).idle == 100


def test_a_rotated_token_is_dead_at_once(store):
    made = store.create({"a": 1})
    old, slow = made.token, store.load(made.token)
    made.rotate()
    saved = store.save(made)
    assert saved.set_token == made.token != old
    assert saved.acknowledged == made_acknowledged(store)
    assert store.load(old) is None
    assert store.load(made.token)["a"] == 1
    slow["a"] = 2
    with pytest.raises(SessionGoneError):
        store.save(slow)
    assert store.load(made.token)["a"] == 1


def test_a_rotation_happens_once(store):
    made = store.create({"a": 1})
    store.rotate(made)
    token = made.token
    assert store.save(made).set_token is None
    assert made.token == token


def test_a_login_rotates_and_enters_the_index(store):
    made = store.create({"a": 1})
    old = made.token
    saved = store.login(made, "u", device="phone", address="192.0.2.1")
    assert saved.set_token == made.token != old
    assert store.load(old) is None
    assert store.load(made.token).user == "u"
    [info] = store.sessions_of("u", current=made)
    assert info.current
    assert (info.public_id, info.user) == (made.public_id, "u")
    assert (info.device, info.address) == ("phone", "192.0.2.1")


def test_a_login_as_another_user_leaves_the_first_ones_list(store):
    made = store.create({}, user="u")
    store.login(made, "v")
    assert store.sessions_of("u") == []
    assert [one.user for one in store.sessions_of("v")] == ["v"]
    assert store.revoke_all("u") == 0
    assert store.load(made.token) is not None


def test_a_login_of_a_new_session_stores_it(store):
    new = store.new()
    saved = store.login(new, "u")
    assert saved.set_token == new.token
    assert store.load(new.token).user == "u"


def test_a_flush_and_a_login_in_one_save(store):
    made = store.create({"a": 1}, user="u")
    old = made.token
    made.flush()
    made.login("v")
    saved = store.save(made)
    assert saved.set_token == made.token
    assert not saved.ended
    assert store.load(old) is None
    assert store.sessions_of("u") == []
    assert store.load(made.token).user == "v"


def test_one_of_a_users_sessions_is_ended_by_its_public_id(store):
    one, other = (store.create({}, user="u") for _ in range(2))
    assert store.revoke("u", one.public_id)
    assert not store.revoke("u", one.public_id)
    assert not store.revoke("v", other.public_id)
    assert store.load(one.token) is None
    assert [info.public_id for info in store.sessions_of("u")] == [other.public_id]


def test_all_of_a_users_sessions_end_but_the_kept_one(store):
    kept, *others = (store.create({}, user="u") for _ in range(4))
    foreign = store.create({}, user="v")
    assert store.revoke_all("u", keep=kept) == 3
    assert [store.load(one.token) for one in others] == [None] * 3
    assert store.load(kept.token) is not None
    assert store.load(foreign.token) is not None
    assert store.revoke_all("u") == 1
    assert store.load(kept.token) is None


def test_everybodys_sessions_end_those_of_nobody_included(store):
    made = [store.create({"a": 1}, user=user) for user in ("u", "v", None)]
    assert store.count() == 3
    assert {one.public_id for one in store.scan()} == {one.public_id for one in made}
    assert store.revoke_everybody() == 3
    assert store.count() == 0


def test_counts_are_of_a_user_or_of_all(store):
    for user in ("u", "u", "v", None):
        store.create({"a": 1}, user=user)
    assert (store.count("u"), store.count("v"), store.count("w"), store.count()) == (2, 1, 0, 4)


@pytest.mark.parametrize("prefix", ["a[b]", "a*", "a?c", "a\\b"])
def test_a_prefix_may_hold_what_patterns_are_made_of(open_store, prefix):
    store = open_store(prefix=prefix + open_store().settings.prefix)
    store.create({"a": 1}, user="u")
    assert store.count() == 1
    assert len(list(store.scan())) == 1
    assert store.revoke_everybody() == 1


def test_a_reload_reads_again_and_drops_changes(store):
    made = store.create({"a": 1})
    one, other = store.load(made.token), store.load(made.token)
    other["a"] = 2
    store.save(other)
    one["b"] = 3
    assert store.reload(one)
    assert dict(one) == {"a": 2}
    assert not one.modified
    store.delete(made)
    assert not store.reload(one)
    assert not store.reload(store.new())


def test_a_session_that_is_too_large_is_refused_before_anything_is_sent(open_store):
    store = open_store(max_bytes=100)
    made = store.create({"a": 1})
    made["b"] = "x" * 100
    with pytest.raises(SessionTooLargeError, match="max_bytes=100"):
        store.save(made)
    assert dict(store.load(made.token)) == {"a": 1}
    with pytest.raises(SessionTooLargeError):
        store.create({"b": "x" * 100}, user="u")
    with pytest.raises(SessionTooLargeError):
        store.login(made, "u")
    assert index_size(store, "u") == 0
    del made["b"]
    store.login(made, "u")
    assert store.load(made.token).user == "u"


def index_size(store, user):
    key = f"{store.settings.prefix}:u:{user}"
    if store.client is not None:
        return store.client.zcard(key)
    held = memory_of(store)._held.get(key)
    return 0 if held is None else len(held.scores)


def test_a_login_past_the_limit_is_refused(open_store):
    store = open_store(limit=2)
    kept = [store.create({}, user="u") for _ in range(2)]
    with pytest.raises(SessionLimitError, match="2 sessions"):
        store.create({}, user="u")
    assert None not in [store.load(one.token) for one in kept]
    assert store.count() == 2
    store.login(kept[0], "u")
    store.delete(kept[1])
    store.create({}, user="u")
    assert store.count("u") == 2


def later(made):
    """Return what was made once the clock shows another time."""
    while datetime.now(UTC) - made.created < timedelta(milliseconds=2):
        pass
    return made


def test_a_login_past_the_limit_ends_the_oldest(open_store):
    told = Told()
    store = open_store(limit=2, when_full="evict", hooks=(told,))
    first, second, third = (later(store.create({}, user="u")) for _ in range(3))
    assert store.load(first.token) is None
    assert store.load(second.token) is not None
    assert store.load(third.token) is not None
    assert told.reasons("session_deleted") == ["limit"]


def test_a_login_that_lost_its_session_takes_no_place(open_store):
    store = open_store(limit=1)
    made = store.create({"a": 1})
    late = store.load(made.token)
    store.delete(made)
    with pytest.raises(SessionGoneError):
        store.login(late, "u")
    assert store.create({}, user="u").user == "u"


def test_use_moves_the_idle_limit_only_when_that_is_due(open_store):
    store = open_store(idle=1800, touch_after=60)
    made = store.create({"a": 1})
    expire(store, made, 30)
    before = store.load(made.token)
    store.save(before)
    assert store.load(made.token).ttl < 1_771_000
    expire(store, made, 40)
    late = store.load(made.token)
    store.save(late)
    assert store.load(made.token).ttl > 1_790_000


def test_a_touch_that_is_asked_for_is_made(store):
    made = store.create({"a": 1})
    expire(store, made, 30)
    one = store.load(made.token)
    one.touch()
    store.save(one)
    assert store.load(made.token).ttl > 1_790_000


def test_no_use_moves_the_absolute_limit(open_store):
    store = open_store(idle=1800, lifetime=3600)
    made = store.create({"a": 1})
    expire(store, made, 0)
    for _ in range(2):
        expire(store, made, 1500)
        one = store.load(made.token)
        one.touch()
        store.save(one)
    assert store.load(made.token).ttl <= 600_000
    expire(store, made, 599)
    assert store.load(made.token).ttl <= 1000


def test_a_login_begins_a_new_lifetime(store):
    made = store.create({"a": 1})
    expire(store, made, 1000)
    one = store.load(made.token)
    before = one.expires
    store.login(one, "u")
    assert store.load(one.token).expires - before > timedelta(seconds=900)


def test_an_old_token_is_renewed_and_stays_good_until_its_successor_is_seen(store):
    made = store.create({"a": 1})
    old = made.token
    expire(store, made, 1000)
    one = store.load(old)
    successor = store.save(one).set_token
    assert successor not in {old, None}
    assert store.load(old) is not None
    seen = store.load(successor)
    store.save(seen)
    assert store.load(old) is not None
    expire(store, made, 61)
    assert store.load(old) is None
    assert store.load(successor) is not None


def test_a_renewal_whose_cookie_was_lost_throws_nobody_out(store):
    made = store.create({"a": 1})
    old = made.token
    expire(store, made, 1000)
    lost = store.save(store.load(old)).set_token
    expire(store, made, 61)
    again = store.load(old)
    assert again is not None
    second = store.save(again).set_token
    assert second not in {None, lost}
    assert store.load(lost) is None
    assert store.load(old) is not None
    assert store.load(second) is not None


def test_a_second_save_of_what_was_renewed_confirms_nothing(store):
    made = store.create({"a": 1})
    old = made.token
    expire(store, made, 1000)
    one = store.load(old)
    successor = store.save(one).set_token
    one["a"] = 2
    assert store.save(one).set_token is None
    assert store.reload(one)
    one["a"] = 3
    store.save(one)
    expire(store, made, 50)
    assert store.load(old)["a"] == 3  # and not yet renewed again: the successor is waited for
    expire(store, made, 20)
    assert store.load(old) is not None
    assert store.load(successor) is not None


def test_only_one_of_several_renews(store):
    made = store.create({"a": 1})
    expire(store, made, 1000)
    loaded = [store.load(made.token) for _ in range(3)]
    given = [store.save(one).set_token for one in loaded]
    assert [token is None for token in given] == [False, True, True]
    assert store.load(given[0]) is not None


def test_after_a_renewal_nothing_is_due(store):
    made = store.create({"a": 1})
    expire(store, made, 1000)
    one = store.load(made.token)
    store.save(one)
    seen = store.load(one.token)
    assert asked(store, lambda: store.save(one)) == 0
    assert asked(store, lambda: store.save(seen)) == 1
    assert asked(store, lambda: store.save(seen)) == 0


def asked(store, act):
    """Return how many round trips an act takes."""
    sent, rounds = store._sent, []
    ask = sent.ask

    def counted(calls):
        rounds.append(calls)
        return ask(calls)

    sent.ask = counted
    act()
    del sent.ask
    return len(rounds)
