"""What cachelib's own tests do not look at: keys, counting, and servers that are away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from redis.exceptions import ConnectionError as Away
from redis.exceptions import RedisError

from clustercache import Cache, Cluster
from clustercache.cachelib import ClusterCache
from clustercache.caching.memory import Memory
from clustercache.exceptions import ConfigurationError

KEY = "k" * 16


@dataclass
class Point:
    x: int


class Half(Memory):
    """A server that answers nothing about keys with an "x" in them."""

    def ask(self, calls):
        answers = super().ask([call for call in calls if "x" not in call.key])
        return [Away("away") if "x" in call.key else answers.pop(0) for call in calls]


def half(**options):
    made = ClusterCache("memory://", signing_key=KEY, **options)
    made.cache = Cache(Half(), namespace="n", on_error=made.cache.settings.on_error)
    return made


def test_a_key_has_to_be_given():
    with pytest.raises(ConfigurationError, match='signing_key=, or serializer="json"'):
        ClusterCache("memory://")


def test_a_serializer_needs_no_key():
    cache = ClusterCache("memory://", serializer="json")
    assert cache.set("a", [1])
    assert cache.get("a") == [1]
    with pytest.raises(TypeError):
        cache.set("b", Point(1))


def test_what_another_key_has_signed_is_not_there():
    url = "memory://signed"
    assert ClusterCache(url, signing_key="o" * 16).set("a", Point(1))
    assert ClusterCache(url, signing_key=KEY).get("a") is None
    new = ClusterCache(url, signing_key=KEY, signing_key_fallbacks=["o" * 16])
    assert new.get("a") == Point(1)


def test_no_timeout_is_the_default_and_zero_is_for_ever():
    cache = ClusterCache("memory://", 60, signing_key=KEY)
    cache.set("a", "v")
    cache.set("b", "v", timeout=0)
    cache.inc("c")
    assert 59 < cache.cache.ttl("a") <= 60
    assert cache.cache.ttl("b") == float("inf")
    assert 59 < cache.cache.ttl("c") <= 60


def test_only_integers_are_counted():
    cache = ClusterCache("memory://", signing_key=KEY)
    cache.set("a", "text")
    with pytest.raises(TypeError, match="str"):
        cache.inc("a")


@pytest.mark.live
def test_no_count_is_lost_also_of_the_first_ones(cluster):
    with Cluster.from_url(cluster.url) as client, ThreadPoolExecutor(8) as pool:
        caches = [ClusterCache(client, signing_key=KEY, namespace="counts") for _ in range(8)]
        for round_ in range(10):
            sums = list(pool.map(lambda one: one.inc(f"hits-{round_}", 2), caches * 5))  # noqa: B023
            assert sorted(sums) == list(range(2, 82, 2))
        caches[0].clear()


def test_what_is_away_is_not_there_and_is_not_stored():
    cache = half()
    assert cache.set("a", 1)
    assert not cache.set("x", 1)
    assert not cache.add("x", 1)
    assert cache.set_many({"b": 2, "x": 2}) == ["b"]
    assert cache.get_many("a", "x", "b") == [1, None, 2]
    assert cache.inc("x") is None
    assert not cache.has("x")


def test_a_delete_that_was_not_confirmed_is_told():
    cache = half(ignore_delete_many_errors=False)
    with pytest.raises(RedisError):
        cache.delete("x")
    with pytest.raises(RuntimeError, match="not all"):
        cache.delete_many("a", "x")


def test_a_delete_of_many_leaves_out_what_was_not_confirmed():
    cache = half()
    cache.set("a", 1)
    assert cache.delete_many("a", "b", "x") == ["a", "b"]
    assert cache.delete_many("x") == []


def test_errors_are_raised_where_that_is_wanted():
    cache = half(on_error="raise")
    for call in (cache.get, cache.inc, cache.has):
        with pytest.raises(RedisError):
            call("x")
    for call in (cache.set, cache.add):
        with pytest.raises(RedisError):
            call("x", 1)


def test_a_closed_cache_has_let_go_of_its_client():
    cache = ClusterCache("redis://127.0.0.1:1", signing_key=KEY)
    cache.close()
    with pytest.raises((RedisError, RuntimeError, ValueError), match="closed"):
        cache.cache.client.get("a")
