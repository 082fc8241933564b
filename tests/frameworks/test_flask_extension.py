"""The extension: what it takes, and what it refuses."""

from __future__ import annotations

from datetime import timedelta

import flask
import pytest

from clustercache.exceptions import ConfigurationError
from clustercache.flask import ClusterCache, login_session
from tests.frameworks.flask_sites import site

# The extension ------------------------------------------------------------------------------------


def test_without_a_url_the_session_can_be_read_but_not_changed():
    app = flask.Flask("none")
    ClusterCache().init_app(app)
    with app.test_request_context():
        assert flask.session.get("a") is None
        with pytest.raises(RuntimeError, match="CLUSTERCACHE_URL"):
            flask.session["a"] = 1
        with pytest.raises(RuntimeError, match="CLUSTERCACHE_URL"):
            flask.session.pop("a")
        with pytest.raises(ConfigurationError, match="ClusterCache"):
            login_session("u")
    with app.app_context(), pytest.raises(ConfigurationError, match="CLUSTERCACHE_URL"):
        ClusterCache().store  # noqa: B018


def test_a_url_may_come_after_init_app():
    app = flask.Flask("late")
    extension = ClusterCache(app)
    app.config["CLUSTERCACHE_URL"] = "memory://"
    client = app.test_client()
    with client.session_transaction() as session:
        session["a"] = 1
    with app.app_context():
        assert extension.store.count() == 1


def test_several_applications_have_sessions_of_their_own():
    extension = ClusterCache(url="memory://")
    apps = [flask.Flask(name) for name in "ab"]
    for app in apps:
        extension.init_app(app)
    clients = [app.test_client() for app in apps]
    with clients[0].session_transaction() as session:
        session["a"] = 1
    stores = []
    for app in apps:
        with app.app_context():
            stores.append(extension.store)
    assert [store.count() for store in stores] == [1, 0]
    assert not hasattr(extension, "app")


def test_options_come_from_the_call_or_the_configuration():
    app = flask.Flask("options")
    app.config.update(
        CLUSTERCACHE_URL="memory://",
        CLUSTERCACHE_GRACE=timedelta(seconds=7),
        CLUSTERCACHE_PREFIX="shop",
        CLUSTERCACHE_SESSION={"touch_after": 5.0, "limit": 3},
        PERMANENT_SESSION_LIFETIME=timedelta(days=2),
    )
    ClusterCache(app, limit=4)
    settings = app.extensions["clustercache"].store_of(app).settings
    told = settings.grace, settings.prefix, settings.touch_after, settings.limit
    assert told == (7.0, "shop", 5.0, 4)
    assert (settings.idle, settings.lifetime) == (172_800.0, 172_800.0)


def test_a_short_permanent_lifetime_is_the_idle_limit():
    app = flask.Flask("short")
    app.permanent_session_lifetime = timedelta(minutes=20)
    ClusterCache(app, url="memory://")
    settings = app.extensions["clustercache"].store_of(app).settings
    assert (settings.idle, settings.lifetime) == (1200.0, 86_400.0)


def test_what_cannot_work_is_told_at_once():
    app = flask.Flask("wrong")
    app.config["CLUSTERCACHE_URL"] = "memory://"
    app.config["CLUSTERCACHE_IDLEE"] = 5
    with pytest.raises(ConfigurationError, match="idlee"):
        ClusterCache(app)
    with pytest.raises(ConfigurationError, match="store"):
        ClusterCache(url="memory://", store=site().store)


def test_a_cookie_may_be_called_by_what_the_request_says():
    app = flask.Flask("dynamic")
    ClusterCache(app, url="memory://")
    kind = type(app.session_interface)

    class ByPath(kind):
        def get_cookie_name(self, app):
            return f"session-{flask.request.path.split('/')[1]}"

    app.session_interface.__class__ = ByPath
    app.add_url_rule("/<shop>/set", "set", lambda shop: flask.session.update(shop=shop) or "")
    app.add_url_rule("/<shop>/get", "get", lambda shop: flask.session.get("shop", "none"))
    client = app.test_client()
    client.get("/a/set")
    assert [client.get(f"/{shop}/get").text for shop in "ab"] == ["a", "none"]
