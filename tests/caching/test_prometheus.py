"""Prometheus reads what a cache has counted, and never a key."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clustercache.caching.near import NearCache
from clustercache.caching.stats import CacheStats, Counters

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest

from clustercache.instrumentation.prometheus import CacheCollector


class Cache:
    """What the collector sees of one."""

    def __init__(self, namespace, near=None):
        self.settings = SimpleNamespace(namespace=namespace)
        self.near = near
        self.direct = Counters()
        self.functions = {}

    def stats(self):
        return CacheStats.of(self.direct, self.functions, self.near)


@pytest.fixture
def registry():
    return CollectorRegistry(auto_describe=True)


def value(registry, name, **labels):
    return registry.get_sample_value(f"clustercache_cache_{name}", labels)


def test_hits_are_told_by_function_and_tier(registry):
    cache = Cache("shop")
    counters = cache.functions["shop.product"] = Counters()
    registry.register(CacheCollector(cache))
    for name in ("near_hits", "far_hits", "stale_served", "stampedes_avoided"):
        getattr(counters, name)(5 + len(name))
    found = {
        tier: value(registry, "hits_total", cache="shop", function="shop.product", tier=tier)
        for tier in ("near", "far", "stale", "waited")
    }
    assert found == {"near": 14.0, "far": 13.0, "stale": 17.0, "waited": 22.0}
    counters.near_hits()
    labels = {"cache": "shop", "function": "shop.product", "tier": "near"}
    assert value(registry, "hits_total", **labels) == 15.0


def test_computing_is_told_by_function_and_direct_calls_are_of_none(registry):
    cache = Cache("shop")
    counters = cache.functions["shop.product"] = Counters()
    registry.register(CacheCollector(cache))
    counters.misses(2)
    counters.computed(0.5)
    counters.errors()
    counters.near_hits(4)
    cache.direct.misses(7)
    cache.direct.skipped()
    mine = {"cache": "shop", "function": "shop.product"}
    assert value(registry, "misses_total", **mine) == 2.0
    assert value(registry, "computes_total", **mine) == 1.0
    assert value(registry, "errors_total", **mine) == 1.0
    assert value(registry, "compute_seconds_total", **mine) == 0.5
    assert value(registry, "saved_seconds", **mine) == 2.0
    none = {"cache": "shop", "function": ""}
    assert value(registry, "misses_total", **none) == 7.0
    assert value(registry, "skipped_total", **none) == 1.0


def test_each_cache_goes_by_its_namespace_and_only_a_near_cache_has_entries(registry):
    one, other = Cache("one", NearCache(5)), Cache("other")
    one.direct.misses()
    registry.register(CacheCollector(one, other))
    assert value(registry, "misses_total", cache="one", function="") == 1.0
    assert value(registry, "misses_total", cache="other", function="") == 0.0
    assert value(registry, "near_entries", cache="one") == 0.0
    assert value(registry, "near_bytes", cache="one") == 0.0
    assert value(registry, "near_oldest_seconds", cache="one") is None
    assert value(registry, "near_entries", cache="other") is None


def test_all_of_it_can_be_scraped(registry):
    registry.register(CacheCollector(Cache("shop", NearCache(5))))
    text = generate_latest(registry).decode()
    assert '\nclustercache_cache_hits_total{cache="shop",function="",tier="near"} 0.0\n' in text
    assert "\nclustercache_cache_near_oldest_seconds{" not in text
