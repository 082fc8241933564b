"""One near cache of several caches: nobody is served what is another's."""

from __future__ import annotations

import pytest

from clustercache import AsyncCache, Cache, NearCache
from clustercache.exceptions import ConfigurationError
from clustercache.testing import FakeServer
from tests.nearby import await_true

pytestmark = pytest.mark.live


@pytest.fixture
def near():
    return NearCache()


@pytest.fixture
def open_cache(cluster, near):
    made = []

    def opened(namespace):
        made.append(Cache.from_url(cluster.url, namespace=namespace, near=near))
        return made[-1]

    yield opened
    for cache in made:
        cache.clear()
        cache.close()


def warm(near, call):
    """Call until it is answered from near."""
    before = near.hits

    def is_near():
        call()
        return near.hits > before

    await_true(is_near)


@pytest.mark.parametrize("options", [{}, {"key": "name:{pk}"}, {"key": lambda pk: pk}])
def test_a_function_of_two_caches_has_results_of_its_own_in_each(open_cache, near, options):
    def decorated(space):
        return open_cache(space).cached(name="function", **options)(lambda pk: space)

    of = {space: decorated(space) for space in ("mine", "yours")}
    warm(near, lambda: of["mine"](5))
    assert of["yours"](5) == "yours"
    warm(near, lambda: of["yours"](5))
    assert of["mine"](5) == "mine"
    assert of["mine"].cache_key(5) == of["yours"].cache_key(5)


def test_a_template_like_the_namespace_meets_no_key_of_ones_own(open_cache, near):
    cache = open_cache("product")
    product = cache.cached(key="product:{pk}", name="product")(lambda pk: "the function's")
    warm(near, lambda: product(5))
    assert cache.get("5") is None
    cache.set("6", "a value")
    warm(near, lambda: cache.get("6"))
    assert product(6) == "the function's"


def test_caches_whose_keys_may_be_the_same_do_not_share(open_cache, cluster, near):
    cache = open_cache("shop")
    for nested in ("shop:eu", "shop:eu:de"):
        with pytest.raises(ConfigurationError, match="NearCache"):
            open_cache(nested)
    with FakeServer() as other, pytest.raises(ConfigurationError, match="NearCache"):
        Cache.from_url(other.url, namespace="shop", near=near)
    open_cache("shopping")
    assert Cache(cache.client, namespace="shop", near=near).near is near
    assert AsyncCache.from_url(cluster.url, namespace="shop", near=near).near is near
