"""What one store has the other has, with the same signatures; what does I/O is awaited."""

from __future__ import annotations

import inspect

from clustercache import AsyncSessionStore, SessionStore

TRANSLATED = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}


def public(kind):
    """The names of a class, with what they are, but for `object`'s own."""
    return {
        TRANSLATED.get(name, name): getattr(kind, name)
        for name in dir(kind)
        if (not name.startswith("_") or name in TRANSLATED or name in TRANSLATED.values())
    }


def test_both_stores_have_the_same_names():
    assert public(SessionStore).keys() == public(AsyncSessionStore).keys()
    assert {"create", "load", "save", "scan", "close"} <= public(SessionStore).keys()


def test_the_names_have_the_same_arguments():
    for name, one in public(SessionStore).items():
        other = public(AsyncSessionStore)[name]
        if callable(one):
            ours, theirs = inspect.signature(one), inspect.signature(other)
            assert ours.parameters == theirs.parameters, name


def test_what_does_io_is_awaited_in_asyncio_alone():
    plain = {"from_url", "new"}
    for name, other in public(AsyncSessionStore).items():
        if callable(other) and name not in plain:
            awaited = inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other)
            assert awaited, name
            assert not inspect.iscoroutinefunction(public(SessionStore)[name])
