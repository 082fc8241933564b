"""`Cache` and `AsyncCache` are one: the same names, the same arguments."""

from __future__ import annotations

import inspect

import pytest

from clustercache import AsyncCache, Cache

OWN = {"close", "aclose", "aio"}


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")} - OWN


def test_both_have_the_same_public_names():
    assert public(Cache) == public(AsyncCache)
    assert {"get", "set", "get_many", "cached", "invalidate_tags", "stats"} <= public(Cache)


@pytest.mark.parametrize("name", sorted({"__init__", *public(Cache)}))
def test_both_take_the_same_arguments(name):
    ours, theirs = getattr(Cache, name), getattr(AsyncCache, name)
    if not callable(ours):
        assert type(ours) is type(theirs)
        return
    assert _arguments(ours) == _arguments(theirs)


def _arguments(method):
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


def test_what_asks_a_server_is_awaited():
    plain = {"cached", "cached_many", "for_kind", "from_url", "lock", "stats"}
    methods = {name for name in public(AsyncCache) if callable(getattr(AsyncCache, name))}
    for name in methods - plain:
        assert inspect.iscoroutinefunction(getattr(AsyncCache, name)), name
