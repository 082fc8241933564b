"""What the adapters have in common: where a cache is, its near cache, and its signing key."""

from __future__ import annotations

import pytest

from clustercache import Cluster, NearCache
from clustercache.caching.adapters import any_object, cache_at, near_of
from clustercache.caching.lazily import lazily
from clustercache.exceptions import ConfigurationError


@pytest.mark.parametrize("url", [None, "", ()])
def test_without_a_url_there_is_no_cache(url):
    with pytest.raises(ConfigurationError, match="url="):
        cache_at(url)


def test_a_client_is_shared_and_not_closed():
    with Cluster.from_url("redis://127.0.0.1:1") as client:
        cache = cache_at(client, near=7, ttl=5)
        assert cache.client is client
        assert (cache.near.maxsize, cache.settings.ttl) == (7, 5)
        cache.close()
        assert client.config.seeds  # and it is the caller's to close


@pytest.mark.parametrize(
    ("given", "maxsize"),
    [(None, None), (False, None), (True, 10_000), (5, 5), ({"maxsize": 6}, 6), ({}, 10_000)],
)
def test_a_near_cache_is_made_of_what_a_configuration_can_say(given, maxsize):
    made = near_of(given)
    assert (made if made is None else made.maxsize) == maxsize


def test_a_near_cache_that_is_made_already_is_taken():
    made = NearCache(3)
    assert near_of(made) is made


@pytest.mark.parametrize("given", ["many", {"colour": 1}, 0, [5]])
def test_what_describes_no_near_cache_is_refused(given):
    with pytest.raises(ConfigurationError):
        near_of(given)


def test_a_key_is_asked_for_and_what_may_stand_for_it_is_said():
    with pytest.raises(ConfigurationError, match="signing_key=, or a pony"):
        any_object(None, (), "a pony")
    with pytest.raises(ConfigurationError, match="16 bytes"):
        any_object("short", (), "a pony")


def test_what_is_bound_late_is_refused_early():
    def generates():
        yield 1

    with pytest.raises(TypeError, match="generator"):
        lazily(generates, lambda _: None)
    with pytest.raises(TypeError, match="decorates functions"):
        lazily(5, lambda _: None)
