"""Sessions of an older store move in when they are used, encrypted, and leave nothing behind."""

from __future__ import annotations

import os
from uuid import uuid4

import msgspec
import pytest

from clustercache.exceptions import ConfigurationError
from clustercache.sessions import FlaskSessionReader, KeyRing
from tests.sessions.stores import Told

pytestmark = pytest.mark.live

DATA = {"cart": ["apple"], "n": 1}


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def store(real, told):
    ring = KeyRing({"2026": os.urandom(32)})
    return real(migrate=FlaskSessionReader(), keys=ring, hooks=(told,))


@pytest.fixture
def cookie(store):
    """What a browser has of the older store."""
    made = uuid4().hex + "AAAAAAAAAAA"
    assert old_key(made) is not None
    store.client.set(old_key(made), msgspec.msgpack.encode(DATA))
    return made


def old_key(cookie):
    return FlaskSessionReader().key_of(cookie)


def test_an_older_session_moves_in_at_its_first_save(store, cookie):
    session = store.load(cookie)
    assert dict(session) == DATA
    assert session.is_new
    assert session.modified
    saved = store.save(session)
    assert saved.set_token == session.token != cookie
    assert store.client.exists(old_key(cookie)) == 0
    assert dict(store.load(session.token)) == DATA
    assert store.load(cookie) is None


def test_what_moved_in_is_encrypted(store, cookie):
    session = store.load(cookie)
    store.login(session, "u", device="my phone")
    stored = store.client.hgetall(store.plans.key(session.selector))
    assert not any(b"apple" in value or b"phone" in value for value in stored.values())
    assert dict(store.load(session.token)) == DATA
    assert [one.device for one in store.sessions_of("u")] == ["my phone"]
    assert store.client.exists(old_key(cookie)) == 0


def test_an_encrypted_session_counts_and_compares_as_a_plain_one(store):
    made = store.create({"n": 1, "log": []})
    both = [store.load(made.token) for _ in range(2)]
    for one in both:
        one.incr("n")
        one.append("log", "x")
        store.save(one)
    assert dict(store.load(made.token)) == {"n": 3, "log": ["x", "x"]}
    again = store.load(made.token)
    again["n"] = 3
    assert not again.modified


def test_fields_of_another_session_or_name_do_not_open(store, told):
    one, other = store.create({"a": 1, "b": 2}), store.create({"a": 3})
    key, from_ = store.plans.key(one.selector), store.plans.key(other.selector)
    store.client.hset(key, ":a", store.client.hget(from_, ":a"))
    store.client.hset(key, ":c", store.client.hget(key, ":b"))
    assert dict(store.load(one.token)) == {"b": 2}
    assert told.kinds().count("session_field_dropped") == 2


@pytest.mark.parametrize("how", ["delete", "flush"])
def test_an_older_session_that_is_ended_before_it_moved_in_is_ended(store, cookie, how):
    session = store.load(cookie)
    if how == "delete":
        saved = store.delete(session)
    else:
        session.flush()
        saved = store.save(session)
    assert saved.ended
    assert store.client.exists(old_key(cookie)) == 0
    assert store.load(cookie) is None


def test_an_older_session_that_is_not_saved_stays(store, cookie):
    store.load(cookie)
    assert dict(store.load(cookie)) == DATA


def test_what_is_no_session_there_gives_none(store, cookie, told):
    store.client.set(old_key(cookie), b"\xc1")
    assert store.load(cookie) is None
    store.client.unlink(old_key(cookie))
    assert store.load(cookie) is None
    assert told.reasons("session_unknown") == ["unreadable", "absent"]


def test_memory_has_no_older_store(store_class):
    with store_class.from_url("memory://", migrate=FlaskSessionReader()) as store:
        assert store.load("a" * 43) is None
        with pytest.raises(ConfigurationError):
            KeyRing({})
