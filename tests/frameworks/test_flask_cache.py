"""The extension's cache: one for each application, in functions that were decorated before it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from time import monotonic

import flask
import pytest

from clustercache import NearCache
from clustercache.exceptions import ConfigurationError
from clustercache.flask import ClusterCache

ROOT = Path(__file__).resolve().parents[2]
_numbers = itertools.count()

extension = ClusterCache()


class Shop:
    """What an application's module decorates while it is imported."""

    @extension.cache.cached(ttl=60, name="price")
    def price(self, pk):
        return [flask.current_app.name, pk, next(_numbers)]

    def __cache_key__(self):
        return "shop"

    @extension.cache.cached
    @staticmethod
    def tax(pk):
        return next(_numbers)


@extension.cache.cached(ttl=60)
async def stock(pk):
    await asyncio.sleep(0)
    return next(_numbers)


@extension.cache.cached_many(ttl=60)
def names(pks):
    return {pk: [flask.current_app.name, pk] for pk in pks}


def site(name="site", *, url="memory://", extension=extension, **config):
    app = flask.Flask(name)
    app.config.update({"CLUSTERCACHE_URL": url}, **config)
    extension.init_app(app)
    return app


def test_a_function_that_was_decorated_before_has_its_results_cached():
    shop = Shop()
    with site().app_context():
        first = shop.price(5)
        assert shop.price(pk=5) == first
        assert shop.price(6) != first
        assert Shop.tax(1) == Shop.tax(1)
        assert Shop.price.cache_info().hits == 1
        assert Shop.price.refresh(shop, 5) != first
        Shop.price.cache_clear()
        assert extension.cache.get(Shop.price.cache_key(shop, 5)) is None


def test_coroutine_functions_and_functions_of_many_keys_are_cached_too():
    app = site()
    with app.app_context():
        assert asyncio.run(stock(1)) == asyncio.run(stock(1))
        assert names([1, 2]) == names([2, 1])
        assert names.cache_info().hits == 2
        asyncio.run(stock.cache_clear())


def test_each_application_has_its_own_cache_and_results():
    apps = [site(name) for name in "ab"]
    prices = []
    for app in apps:
        with app.app_context():
            prices.append(Shop().price(5)[0])
            assert extension.cache.get("who") is None
            extension.cache.set("who", app.name)
    assert prices == ["a", "b"]
    with apps[0].app_context():
        assert extension.cache.get("who") == "a"
    assert not hasattr(extension, "app")


def test_threads_that_come_first_at_once_have_one_cache():
    app, found, gate = site(), set(), threading.Barrier(8)

    def look():
        with app.app_context():
            gate.wait(10)
            found.add(Shop.price.cache_info)
            found.add(id(extension.cache.settings))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2


@pytest.mark.live
def test_asynchronous_views_use_it_each_in_a_loop_of_its_own(cluster):
    config = {"namespace": f"loops-{os.getpid()}", "near": 100}
    app = site(url=cluster.url, CLUSTERCACHE_CACHE=config)

    @app.get("/<pk>")
    async def page(pk):
        held = await extension.cache.aio.get(stock.cache_key(pk))
        return {"stock": await stock(pk), "held": held}

    browser = app.test_client()
    first = browser.get("/5").json
    assert first["held"] is None
    assert browser.get("/5").json == {"stock": first["stock"], "held": first["stock"]}
    with app.app_context():
        extension.cache.clear()
        extension.cache.close()


# Configuration ------------------------------------------------------------------------------------


def test_without_an_application_or_a_url_it_says_so():
    with pytest.raises(RuntimeError, match="application context"):
        Shop().price(5)
    assert repr(extension.cache) == "<the cache of the current Flask application>"
    assert not hasattr(extension.cache, "__wrapped__")
    with flask.Flask("bare").app_context(), pytest.raises(ConfigurationError, match="init_app"):
        extension.cache.get("a")
    app = site(url=None)
    with app.app_context(), pytest.raises(ConfigurationError, match="CLUSTERCACHE_URL"):
        extension.cache.get("a")
    app.config["CLUSTERCACHE_URL"] = "memory://"  # may come late
    with app.app_context():
        assert extension.cache.get("a", "none") == "none"


def test_options_come_from_the_configuration_and_from_the_call():
    near = NearCache(5)
    made = ClusterCache(cache={"ttl": 7})
    config = {"namespace": "shop", "ttl": 5, "deadline": 2.0}
    app = site(extension=made, CLUSTERCACHE_CACHE=config)
    with app.app_context():
        settings = made.cache.settings
        assert (settings.namespace, settings.ttl, settings.deadline) == ("shop", 7, 2.0)
    for given, size in [(near, 5), (6, 6), ({"maxsize": 7}, 7)]:
        app = site(url="redis://127.0.0.1:1", extension=made, CLUSTERCACHE_CACHE={"near": given})
        with app.app_context():
            assert made.cache.near.maxsize == size


@pytest.mark.parametrize("options", [{"colour": 1}, {"ttl": "soon"}, {"near": "many"}])
def test_what_cannot_work_is_told_at_once(options):
    with pytest.raises((ConfigurationError, TypeError)):
        site(url="redis://127.0.0.1:1", CLUSTERCACHE_CACHE=options)


def test_the_client_is_that_of_the_sessions_unless_it_has_to_be_another():
    url, other = "redis://127.0.0.1:1", "redis://127.0.0.1:2"
    for options, is_shared in [
        ({"ttl": 5, "near": 5}, True),
        ({"url": url}, True),
        ({"url": other}, False),
        ({"max_connections": 5}, False),
    ]:
        with site(url=url, CLUSTERCACHE_CACHE=options).app_context():
            assert (extension.cache.client is extension.store.client) is is_shared


def test_an_application_may_keep_its_own_sessions():
    made = ClusterCache()
    app = flask.Flask("own")
    app.config.update(CLUSTERCACHE_URL="memory://", CLUSTERCACHE_SESSION=False, SECRET_KEY="s")
    usual = app.session_interface
    made.init_app(app)
    assert app.session_interface is usual
    with app.app_context():
        assert made.cache.set("a", 1)
        with pytest.raises(ConfigurationError, match="no sessions"):
            made.store  # noqa: B018


# In the background --------------------------------------------------------------------------------


def test_what_is_computed_in_the_background_has_an_application_context_of_its_own():
    made = ClusterCache()
    app, seen, ended = flask.Flask("site"), [], []
    app.config["CLUSTERCACHE_URL"] = "memory://"
    made.init_app(app)

    def here():
        return threading.current_thread() is threading.main_thread()

    app.teardown_appcontext(lambda _: ended.append(here()))

    @made.cache.cached(ttl=0.001, stale=60, name="slow")
    def slow():
        flask.g.setdefault("first", len(seen))
        seen.append((here(), flask.current_app.name, flask.g.first))
        return "page"

    app.add_url_rule("/", "page", slow)
    until = monotonic() + 10
    while False not in ended and monotonic() < until:
        assert app.test_client().get("/").text == "page"
    assert seen[:2] == [(True, "site", 0), (False, "site", 1)]
    assert False in ended


def test_an_application_that_is_dropped_closes_its_cache():
    made = ClusterCache()
    options = {"url": "redis://127.0.0.1:1", "near": 5}
    app = site(url="memory://", extension=made, CLUSTERCACHE_CACHE=options)
    with app.app_context():
        client = made.cache.client
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None
    with pytest.raises(Exception, match="closed"):
        client.get("a")


PROGRAM = """
import os, sys
import flask
from clustercache.flask import ClusterCache

extension = ClusterCache()

@extension.cache.cached(ttl=60, name="who")
def who(n):
    return os.getpid()

app = flask.Flask("site")
app.config["CLUSTERCACHE_URL"] = sys.argv[1]
app.config["CLUSTERCACHE_CACHE"] = {"near": 100, "namespace": f"forks-{os.getpid()}"}
extension.init_app(app)
with app.app_context():
    assert who(1) == who(1) == os.getpid()
    child = os.fork()
    if not child:
        assert who(1) == os.getppid()
        assert who(2) == os.getpid()
        assert extension.cache.set("child", 1)
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert extension.cache.get("child") == 1
    assert who(2) == child
    extension.cache.clear()
"""


@pytest.mark.live
def test_a_forked_worker_uses_the_cache_and_both_end_quietly(cluster):
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, cluster.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
