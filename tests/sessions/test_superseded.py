"""A token that was replaced a moment ago is told from one that never was, or is over."""

from __future__ import annotations

import asyncio

import pytest

from clustercache.exceptions import SessionGoneError
from clustercache.instrumentation import SessionRefused
from clustercache.sessions import AsyncSessionStore, SessionStore


@pytest.fixture
def store():
    return SessionStore.from_url("memory://superseded")


def test_a_token_that_was_rotated_is_superseded_and_its_successor_is_not(store):
    session = store.create({"a": 1})
    old = session.token
    assert not store.superseded(old)
    store.rotate(session)
    assert store.superseded(old)
    assert not store.superseded(session.token)
    store.delete(session)
    assert not store.superseded(old)


def test_a_token_that_was_replaced_long_ago_is_not_superseded():
    store = SessionStore.from_url("memory://superseded", grace=0.001)
    session = store.create()
    old, made = session.token, store.plans.now()
    store.rotate(session)
    while store.plans.now() - made < 5:
        pass
    assert not store.superseded(old)


@pytest.mark.parametrize("shown", [None, "", "1", "x" * 16 + "." + "y" * 22])
def test_what_was_never_issued_is_not_superseded(store, shown):
    assert not store.superseded(shown)


def test_both_stores_tell(store):
    session = store.create()
    old = session.token
    store.rotate(session)
    other = AsyncSessionStore.from_url("memory://superseded")
    assert asyncio.run(other.superseded(old))


def test_what_a_save_returns_shows_no_token_when_it_is_logged(store):
    session = store.new()
    session["a"] = 1
    saved = store.save(session)
    selector, _, verifier = saved.set_token.partition(".")
    assert not any(part in f"{saved}" + repr(saved) for part in (selector, verifier))
    assert repr(store.save(session)) == "Saved(None, ended=False, acknowledged=None)"


def test_what_would_replace_a_newer_token_is_refused_and_told(store):
    told = []
    store = SessionStore.from_url("memory://superseded", hooks=(told.append,))
    known = store.create({"a": 1})
    late, old = store.new(), known.token
    store.rotate(known)
    late.lost = old
    late["b"] = 2
    with pytest.raises(SessionGoneError, match="replaced a moment ago"):
        store.save(late)
    assert told[-1] == SessionRefused(session=known.public_id)
    late.flush()  # who ends it may begin anew
    late["b"] = 2
    assert dict(store.load(store.save(late).set_token)) == {"b": 2}
