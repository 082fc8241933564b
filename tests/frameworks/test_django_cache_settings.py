"""CACHES: what it may say, and what of it cannot work."""

from __future__ import annotations

import asyncio

import pytest
from django.core.cache import cache, caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from clustercache import NearCache
from tests.frameworks import django_site  # noqa: F401 - gives the settings first

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"LOCATION": ""}, "LOCATION is missing"),
        ({"LOCATION": "http://nowhere"}, "http"),
        ({"OPTIONS": {"namespcae": "x"}}, "namespcae"),
        ({"OPTIONS": {"ttl": 5}}, "TIMEOUT"),
        ({"OPTIONS": {"near": "yes"}}, "near"),
        ({"OPTIONS": {"near": {"maxsiez": 5}}}, "maxsiez"),
        ({"OPTIONS": {"near": {"maxsize": 0}}}, "maxsize"),
        ({"OPTIONS": {"serializer": "xml"}}, "xml"),
        ({"OPTIONS": {"serializer": "no.such.Serializer"}}, "no"),
        ({"OPTIONS": {"socket_timeout": -1}}, "socket_timeout"),
        ({"OPTIONS": {"deadline": 0}}, "deadline"),
    ],
)
def test_what_cannot_work_is_named(caching, entry, told):
    with caching(wrong=entry), pytest.raises(ImproperlyConfigured, match=told):
        caches["wrong"].get("a")


def test_a_secret_key_that_is_too_short_is_named(caching):
    with (
        override_settings(SECRET_KEY="short"),
        caching(),
        pytest.raises(ImproperlyConfigured, match="SECRET_KEY"),
    ):
        cache.get("a")


def test_options_reach_the_cache_and_its_client(cluster, caching):
    options = {"lease": 2, "namespace": "own", "max_connections": 7, "near": {"maxsize": 5}}
    with caching(own={"OPTIONS": options, "TIMEOUT": 70}):
        inner = caches["own"].inner
    assert (inner.settings.lease, inner.settings.namespace, inner.settings.ttl) == (2, "own", 70)
    assert (inner.client.config.max_connections, inner.near.maxsize) == (7, 5)


def test_a_near_cache_may_be_given_as_such(caching):
    near = NearCache(7)
    with caching(given={"OPTIONS": {"near": near}}, off={"OPTIONS": {"near": False}}):
        assert caches["given"].inner.near is near
        assert caches["off"].inner.near is None


@pytest.mark.parametrize("part", [";", ",", None])
def test_several_locations_are_seeds_of_one_cluster(cluster, caching, part):
    urls = [f"redis://127.0.0.1:{node.port}" for node in cluster.nodes[:3]]
    location = urls if part is None else part.join(urls)
    with caching(many={"LOCATION": location}):
        caches["many"].set("seeded", 1)
        assert cache.get("seeded") == 1
        assert len(caches["many"].inner.client.config.seeds) == 3


def test_memory_serves_where_there_is_no_server(caching):
    with caching(memory={"LOCATION": "memory://"}):
        there = caches["memory"]
        there.set_many({"user:1": 1, "user:2": 2, "page": 3})
        assert there.delete_pattern("user:*") == 2
        assert (there.get("page"), there.incr("page"), there.ttl("page") > 290) == (3, 4, True)
        with there.lock("l"):
            assert asyncio.run(there.adelete_pattern("p?g[a-f]")) == 1


@pytest.mark.parametrize("name", ["json", "clustercache._values.serializers.TaggedJSON"])
def test_another_serializer_needs_no_secret(caching, name):
    with override_settings(SECRET_KEY=""), caching(json={"OPTIONS": {"serializer": name}}):
        caches["json"].set("a", {"b": (1, 2)})
        assert caches["json"].get("a") == {"b": (1, 2)}
        with pytest.raises(TypeError):
            caches["json"].set("a", object())
