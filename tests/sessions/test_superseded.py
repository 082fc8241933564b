"""A token that was replaced a moment ago is told from one that never was, or is over."""

from __future__ import annotations

import asyncio

import pytest

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
