"""A token is renewed: one successor, and nobody is thrown out."""

from __future__ import annotations

import pytest

from tests.sessions.stores import expire

pytestmark = pytest.mark.live


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
