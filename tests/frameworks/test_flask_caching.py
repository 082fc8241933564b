"""The backend for Flask-Caching: where it finds its URL, its namespace and its key."""

from __future__ import annotations

import gc
import weakref

import flask
import flask_caching
import pytest

from clustercache.exceptions import ConfigurationError

TYPE = "clustercache.flask.caching.ClusterCacheBackend"


def made(secret="s" * 16, **config):
    app = flask.Flask("site")
    app.secret_key = secret
    app.config.update({"CACHE_TYPE": TYPE}, **config)
    return app, flask_caching.Cache(app)


def backend(app, cache):
    return app.extensions["cache"][cache]


@pytest.mark.parametrize(
    "config",
    [
        {"CLUSTERCACHE_URL": "memory://"},
        {"CACHE_REDIS_URL": "memory://", "CLUSTERCACHE_URL": "redis://127.0.0.1:1"},
        {"CACHE_OPTIONS": {"url": "memory://"}, "CACHE_REDIS_URL": "redis://127.0.0.1:1"},
        {"CACHE_ARGS": ["memory://"]},
    ],
)
def test_the_url_is_found(config):
    app, cache = made(**config)
    with app.app_context():
        assert cache.set("a", {1})
        assert cache.get("a") == {1}
    assert backend(app, cache).cache.client is None


def test_without_a_url_or_a_key_it_says_so():
    with pytest.raises(ConfigurationError, match="url="):
        made()
    with pytest.raises(ConfigurationError, match="signing_key="):
        made(secret=None, CLUSTERCACHE_URL="memory://")


def test_the_prefix_is_the_namespace_and_the_timeout_the_default():
    config = {"CACHE_KEY_PREFIX": "shop", "CACHE_DEFAULT_TIMEOUT": 60}
    app, cache = made(CLUSTERCACHE_URL="memory://", **config)
    ours = backend(app, cache)
    assert ours.cache.settings.namespace == "shop"
    assert ours.default_timeout == 60
    assert ours.ignore_delete_many_errors is False


def test_an_old_secret_key_is_still_read():
    app, cache = made("old" * 8, CLUSTERCACHE_URL="memory://old-secret")
    with app.app_context():
        cache.set("a", (1, 2))
    config = {"SECRET_KEY_FALLBACKS": ["old" * 8], "CLUSTERCACHE_URL": "memory://old-secret"}
    app, cache = made("new" * 8, **config)
    with app.app_context():
        assert cache.get("a") == (1, 2)


def test_an_application_that_is_dropped_closes_its_cache():
    app, cache = made(CLUSTERCACHE_URL="redis://127.0.0.1:1")
    ours, gone = backend(app, cache), weakref.ref(app)
    del app, cache
    gc.collect()
    assert gone() is None
    with pytest.raises(Exception, match="closed"):
        ours.cache.client.get("a")
