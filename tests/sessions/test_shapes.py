"""What changed is told without encoding it where that is safe, and never told wrong."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal

import pytest

from clustercache.sessions import SessionStore
from clustercache.sessions.fields import _look


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1], [True]), ([1], [1.0]), ([0.0], [-0.0]), ([None], []), ({"a": 1}, {"a": "1"}),
        (["1"], [b"1"]), ([[1]], [(1,)]), ([{1}], [frozenset({1})]), ({"a": 1}, {"b": 1}),
        ([float("inf")], [float("-inf")]), ([10**30], [10**30 + 1]), ([""], [b""]),
        ([dt.date(2026, 1, 1)], [dt.date(2026, 1, 2)]), ([Decimal(1)], [Decimal("1.0")]),
    ],
)  # fmt: skip
def test_a_change_in_place_is_saved_whatever_the_types(before, after):
    store = SessionStore.from_url("memory://")
    session = store.create({"x": {"deep": before}})
    loaded = store.load(session.token)
    loaded["x"]["deep"] = after
    assert loaded.modified
    store.save(loaded)
    found = store.load(session.token)["x"]["deep"]
    assert (found, repr(found)) == (after, repr(after))


def test_what_is_put_back_after_a_save_is_saved_again():
    store = SessionStore.from_url("memory://")
    loaded = store.load(store.create({"x": [1]}).token)
    for value in ([1, 2], [1]):
        loaded["x"][:] = value
        store.save(loaded)
        assert store.load(loaded.token)["x"] == value


def test_strings_look_the_same_however_they_came_about():
    made = f"{'a' * 2} b"
    assert _look([made, made, "k"]) == _look(["aa b", f"aa {'b'}", sys.intern("k")])


def test_what_has_no_look_is_encoded():
    assert _look([dt.date(2026, 1, 1)]) is None
    endless = []
    endless.append(endless)
    assert _look(endless) is None
