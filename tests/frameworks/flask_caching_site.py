"""The fixtures of Flask-Caching's own tests, for our backend."""

from __future__ import annotations

import itertools
import os
import time

import flask
import flask_caching
import pytest

_numbers = itertools.count()


class Clock:
    """Lets time go by for whoever judges how fresh a value is; the server does not forget yet."""

    def __init__(self):
        self.ahead = 0.0
        self._real = time.time

    def __call__(self):
        return self._real() + self.ahead

    def advance(self, seconds):
        self.ahead += seconds


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(time, "time", fake)
    return fake


@pytest.fixture
def app(request):
    made = flask.Flask(request.module.__name__, template_folder=str(request.path.parent))
    made.testing = True
    made.secret_key = "s" * 16
    made.config["CACHE_TYPE"] = "clustercache.flask.caching.ClusterCacheBackend"
    made.config["CACHE_REDIS_URL"] = os.environ["CLUSTERCACHE_URL"]
    made.config["CACHE_KEY_PREFIX"] = f"own-{os.getpid()}-{next(_numbers)}"
    yield made
    for backend in made.extensions.get("cache", {}).values():
        if hasattr(backend, "close"):
            backend.close()


@pytest.fixture
def cache(app):
    return flask_caching.Cache(app)


@pytest.fixture(params=flask_caching.SUPPORTED_HASH_FUNCTIONS)
def hash_method(request):
    return request.param
