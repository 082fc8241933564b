"""A user's id in a session's data, as Django and Flask-Login keep it, is a login of the session."""

from __future__ import annotations

import pytest

from clustercache.sessions import SessionStore
from clustercache.sessions.identity import USER_FIELDS, settle_identity

pytestmark = pytest.mark.parametrize("field", USER_FIELDS)


@pytest.fixture
def store():
    return SessionStore.from_url("memory://")


def saved(store, session):
    settle_identity(session)
    return store.save(session)


def logged_in(store, field, **data):
    session = store.new()
    session.update({field: "u1", **data})
    saved(store, session)
    return store.load(session.token)


def test_an_id_that_appears_is_a_login_with_a_new_token(store, field):
    before = store.create({"cart": [1]})
    session = store.load(before.token)
    session[field] = 7
    settled = saved(store, session)
    assert settled.set_token not in {None, before.token}
    assert store.load(before.token) is None
    assert store.load(settled.set_token).user == "7"
    assert [one.user for one in store.sessions_of("7")] == ["7"]


def test_an_id_that_changes_is_a_login_of_the_other_user(store, field):
    session = logged_in(store, field)
    old = session.token
    session[field] = "u2"
    saved(store, session)
    assert store.load(old) is None
    assert store.load(session.token).user == "u2"
    assert store.sessions_of("u1") == []


@pytest.mark.parametrize("look", [lambda s, f: s.get("x"), lambda s, f: s[f], "set again"])
def test_an_id_that_stays_is_no_login(store, field, look):
    session = logged_in(store, field)
    if look == "set again":
        session[field] = "u1"
    else:
        look(session, field)
    settle_identity(session)
    assert session.login_due is None
    assert not session.rotation_due


def test_an_id_that_goes_is_a_logout_and_the_rest_goes_on_with_a_new_token(store, field):
    session = logged_in(store, field, cart=[1], _fresh=True)
    old = session.token
    del session[field]
    settled = saved(store, session)
    assert store.load(old) is None
    assert store.sessions_of("u1") == []
    after = store.load(settled.set_token)
    assert after.user is None
    assert dict(after) == {"cart": [1]}


def test_with_nothing_else_in_it_a_logout_deletes_the_cookie(store, field):
    session = logged_in(store, field)
    session.pop(field)
    assert saved(store, session) == (None, True, 0)


def test_a_logout_in_one_framework_is_one_in_the_other(store, field):
    session = logged_in(store, field)
    (other,) = set(USER_FIELDS) - {field}
    session[other] = "u1"
    saved(store, session)
    session = store.load(session.token)
    del session[field]
    assert saved(store, session).ended


def test_a_login_of_another_user_forgets_who_the_data_said_it_was(store, field):
    session = logged_in(store, field, _auth_user_hash="h", cart=[1])
    session.login("u2")
    saved(store, session)
    after = store.load(session.token)
    assert after.user == "u2"
    assert dict(after) == {"cart": [1]}


def test_a_login_that_comes_with_its_id_keeps_it(store, field):
    session = logged_in(store, field)
    session.login("user-2")
    session[field] = 2
    saved(store, session)
    after = store.load(session.token)
    assert (after.user, after[field]) == ("user-2", 2)


def test_a_login_of_the_same_user_keeps_the_id(store, field):
    session = logged_in(store, field)
    session.login("u1")
    saved(store, session)
    assert store.load(session.token)[field] == "u1"


def test_what_was_stored_is_told_whatever_it_is_now(store, field):
    session = logged_in(store, field)
    session[field] = "u2"
    assert session.before(field) == "u1"
    assert session.before("absent") is None
    session.stored[field] = b"{"
    assert session.before(field) is None


def test_one_framework_takes_over_anothers_login_without_a_new_one(store, field):
    session = store.load(store.create(user="u1").token)
    proved, session[field] = session.auth_time, "u1"
    assert saved(store, session).set_token is None
    found = store.load(session.token)
    assert (found.user, found[field], found.auth_time) == ("u1", "u1", proved)
