"""`flask.session` in our keeping: what Flask promises of it, and what we promise beyond."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import flask
import pytest
from markupsafe import Markup

from clustercache.exceptions import ConfigurationError
from clustercache.flask import ClusterCache, FlaskSession, login_session, logout_session
from tests.frameworks.flask_sites import cookie, site, token


def test_a_page_that_never_looks_sends_nothing_and_says_nothing():
    app = site()
    client = app.test_client()
    client.get("/set?a=1")
    app.wire.sent.clear()
    answer = client.get("/page")
    assert app.wire.sent == []
    assert "Vary" not in answer.headers
    assert cookie(answer) is None
    client.get("/read")
    assert app.wire.sent == ["load"]


def test_a_visitor_without_a_cookie_costs_nothing_and_gets_none():
    app = site()
    answer = app.test_client().get("/read")
    assert (answer.json, cookie(answer), app.wire.sent) == ({}, None, [])
    assert answer.headers["Vary"] == "Cookie"


def test_an_id_that_was_not_issued_is_never_adopted():
    app = site()
    client = app.test_client()
    mine = f"{'x' * 16}.{'y' * 22}"
    client.set_cookie("session", mine)
    assert cookie(client.get("/read")) is None
    answer = client.get("/set?a=1")
    assert mine not in cookie(answer)
    assert client.get("/read").json == {"a": "1"}


def test_what_is_set_is_there_again_and_deleted_again():
    app = site()
    app.does("pop", lambda: flask.session.pop("a"))
    client = app.test_client()
    client.get("/set?a=1&b=2")
    assert client.get("/read").json == {"a": "1", "b": "2"}
    assert cookie(client.get("/set?b=3")) is None
    assert client.get("/pop").json == "1"
    assert client.get("/read").json == {"b": "3"}


def test_a_change_deep_inside_counts_without_modified():
    app = site()
    app.does("begin", lambda: flask.session.update(cart=[{"n": 1}]))
    app.does("deep", lambda: flask.session["cart"][0].update(n=2))
    client = app.test_client()
    client.get("/begin")
    client.get("/deep")
    assert client.get("/read").json == {"cart": [{"n": 2}]}


def test_new_modified_and_accessed_tell_what_they_say():
    app = site()
    client = app.test_client()
    with client:
        client.get("/page")
        session = flask.globals.request_ctx._session
        assert (session.accessed, session.modified, session.is_open) == (False, False, False)
        assert "not looked at" in repr(session)
        client.get("/set?a=1")
        assert flask.session.accessed
        assert not flask.session.modified, "it was saved"
    with client.session_transaction() as session:
        assert isinstance(session, FlaskSession)
        assert (session.new, session.modified) == (False, False)
        session["b"] = 2
        assert session.modified
    app.wire.sent.clear()
    with client.session_transaction() as session:
        session.modified = True
    assert app.wire.sent == ["load", "save"]


def test_a_session_has_no_other_attributes():
    with site().test_request_context():
        with pytest.raises(AttributeError, match="nothing_like_it"):
            flask.session.nothing_like_it  # noqa: B018
        flask.session["a"] = 1
        with pytest.raises(AttributeError, match="nothing_like_it"):
            flask.session.nothing_like_it  # noqa: B018


def test_types_that_flask_keeps_come_back():
    values = {
        "t": (1, 2, 3),
        "b": b"\xff",
        "m": Markup("<b>"),
        "u": uuid.UUID(int=7),
        "d": datetime(2026, 1, 2, tzinfo=UTC),
        "tagged": {" t": "no tuple"},
    }
    app = flask.Flask("types")
    app.config["CLUSTERCACHE_URL"] = "memory://"
    ClusterCache(app)
    client = app.test_client()
    with client.session_transaction() as session:
        session.update(values)
    with client.session_transaction() as session:
        assert dict(session) == values
        assert type(session["m"]) is Markup


def test_flashes_are_shown_once_and_markup_stays_markup():
    app = flask.Flask("flashes")
    app.config["CLUSTERCACHE_URL"] = "memory://"
    ClusterCache(app)
    app.add_url_rule("/say", "say", lambda: flask.flash(Markup("<i>hello</i>"), "info") or "")
    app.add_url_rule(
        "/hear",
        "hear",
        lambda: flask.render_template_string("{{ get_flashed_messages(with_categories=true) }}"),
    )
    client = app.test_client()
    client.get("/say")
    assert "Markup" in client.get("/hear").text
    assert client.get("/hear").text == "[]"


def test_what_after_request_sets_is_saved():
    app = site()

    @app.after_request
    def late(response):
        flask.session["late"] = "yes"
        return response

    client = app.test_client()
    assert client.get("/read").json == {}
    assert client.get("/read").json == {"late": "yes"}


# Cookies ------------------------------------------------------------------------------------------

ATTRIBUTES = {
    "SESSION_COOKIE_NAME": "sid",
    "SESSION_COOKIE_DOMAIN": "example.com",
    "SESSION_COOKIE_PATH": "/shop",
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_HTTPONLY": False,
    "SESSION_COOKIE_SAMESITE": "Strict",
    "SESSION_COOKIE_PARTITIONED": True,
}


def test_a_cookie_is_set_and_deleted_with_the_configured_attributes():
    app = site(**ATTRIBUTES)
    app.add_url_rule("/shop/set", "shop", lambda: flask.session.update(a=1) or "")
    app.add_url_rule("/shop/clear", "leave", lambda: flask.session.clear() or "")
    client, where = app.test_client(), "https://www.example.com"
    made = cookie(client.get("/shop/set", base_url=where))
    gone = cookie(client.get("/shop/clear", base_url=where))
    parts = {"Domain=example.com", "Secure", "Path=/shop", "SameSite=Strict", "Partitioned"}
    assert set(made.split("; ")[1:]) == parts
    assert made.startswith("sid=")
    assert gone.startswith("sid=;")
    assert set(gone.split("; ")[1:]) - parts == {
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Max-Age=0",
    }
    assert len(made.split(";")[0]) < 4096


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({}, "session"),
        ({"SESSION_COOKIE_SECURE": True}, "__Host-session"),
        ({"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_PATH": "/shop"}, "__Secure-session"),
        ({"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_DOMAIN": "a.b"}, "__Secure-session"),
    ],
)
def test_a_prefix_is_what_the_cookies_scope_allows(config, name):
    app = site(CLUSTERCACHE_COOKIE_PREFIX=True, **config)
    assert app.session_interface.get_cookie_name(app) == name
    app.config["CLUSTERCACHE_COOKIE_PREFIX"] = False
    assert app.session_interface.get_cookie_name(app) == "session"


def test_what_sets_a_cookie_is_never_stored_by_caches():
    app = site()

    @app.after_request
    def cacheable(response):
        response.headers["Cache-Control"] = "public, max-age=60"
        response.vary.add("Accept")
        return response

    client = app.test_client()
    answer = client.get("/set?a=1")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Accept, Cookie"
    assert client.get("/page").headers["Cache-Control"] == "public, max-age=60"
    assert client.get("/clear").headers["Cache-Control"] == "no-store"


def test_clear_ends_the_session_at_the_server_and_in_the_browser():
    app = site()
    client, other = app.test_client(), app.test_client()
    client.get("/set?a=1")
    other.set_cookie("session", token(client))
    assert cookie(client.get("/clear")).startswith("session=;")
    assert other.get("/read").json == {}
    assert app.store.count() == 0
    assert cookie(client.get("/clear")) is None, "there was none"


def test_clear_deletes_also_the_cookie_of_a_session_that_is_over():
    app = site()
    client = app.test_client()
    client.get("/set?a=1")
    app.store.revoke_everybody()
    assert cookie(client.get("/read")) is None, "only a logout deletes a cookie"
    assert cookie(client.get("/clear")).startswith("session=;")


def test_what_is_set_after_clear_gets_a_new_token():
    app = site()
    app.does("anew", lambda: (flask.session.clear(), flask.session.update(b=2)))
    client = app.test_client()
    client.get("/set?a=1")
    before = token(client)
    client.get("/anew")
    assert token(client).partition(".")[0] != before.partition(".")[0]
    assert client.get("/read").json == {"b": 2}
    assert app.store.load(before) is None


def test_an_emptied_session_keeps_its_cookie():
    app = site()
    app.does("pop", lambda: flask.session.pop("a"))
    client = app.test_client()
    client.get("/set?a=1")
    assert cookie(client.get("/pop")) is None
    assert client.get("/read").json == {}
    assert app.store.count() == 1


# Permanent sessions -------------------------------------------------------------------------------


def test_a_permanent_session_has_a_date_and_another_has_none():
    app = site(PERMANENT_SESSION_LIFETIME=timedelta(days=3))
    app.does("stay", lambda: flask.session.update(_permanent=True, a=1))
    made = cookie(app.test_client().get("/stay"))
    expires = parsedate_to_datetime(made.split("Expires=")[1].split(";")[0])
    assert abs(expires - datetime.now(UTC) - timedelta(days=3)) < timedelta(seconds=10)
    assert "Expires" not in cookie(app.test_client().get("/set?a=1"))


def test_permanent_alone_stores_nothing():
    app = site()

    @app.before_request
    def stay():
        flask.session.permanent = True

    client = app.test_client()
    assert cookie(client.get("/page")) is None
    assert app.store.count() == 0
    client.get("/set?a=1")
    assert client.get("/read").json == {"_permanent": True, "a": "1"}
    assert cookie(client.get("/clear")).startswith("session=;")
    assert app.store.count() == 0


@pytest.mark.parametrize(
    ("permanent", "refresh", "again"), [(1, True, True), (1, False, False), (0, True, False)]
)
def test_a_cookie_is_set_again_only_when_a_touch_is_due(permanent, refresh, again):
    app = site(SESSION_REFRESH_EACH_REQUEST=refresh)
    client = app.test_client()
    with client.session_transaction() as session:
        session.permanent, session["a"] = bool(permanent), 1
    held = token(client)
    assert cookie(client.get("/read")) is None
    assert cookie(client.get("/set?a=2")) is None, "a renewal sets it for longer"
    answer = client.get("/touch")
    assert (cookie(answer) is not None) == again
    assert token(client) == held


def test_an_old_token_is_not_set_again():
    app = site()
    client = app.test_client()
    with client.session_transaction() as session:
        session.permanent, session["a"] = True, 1
    old = token(client)
    app.store.plans._age = 0  # a renewal is due at once
    client.get("/read")
    assert token(client) != old
    client.set_cookie("session", old)
    answer = client.get("/touch")
    assert (answer.status_code, cookie(answer)) == (200, None)


def test_a_cookie_that_no_renewal_sets_for_longer_is_set_when_the_session_is_written():
    app = site(options={"renew_after": None})
    client = app.test_client()
    with client.session_transaction() as session:
        session.permanent, session["a"] = True, 1
    assert token(client) in cookie(client.get("/set?a=2"))
    assert cookie(client.get("/read")) is None


# Logins -------------------------------------------------------------------------------------------


def test_a_login_replaces_the_token_and_enters_the_index():
    app = site()
    app.does("in", lambda: login_session("u1"))
    client = app.test_client()
    client.get("/set?a=1")
    old = token(client)
    client.get("/in", headers={"User-Agent": "Lynx"})
    assert token(client).partition(".")[0] == old.partition(".")[0]
    assert app.store.load(old) is None
    assert client.get("/user").json == "u1"
    (info,) = app.store.sessions_of("u1")
    assert (info.device, info.address) == ("Lynx", "127.0.0.1")


def test_a_logout_ends_the_session():
    app = site()
    app.does("in", lambda: login_session("u1", device="phone"))
    app.does("out", logout_session)
    client = app.test_client()
    client.get("/in")
    assert [one.device for one in app.store.sessions_of("u1")] == ["phone"]
    assert cookie(client.get("/out")).startswith("session=;")
    assert app.store.sessions_of("u1") == []
    assert client.get("/user").json is None


def test_rotate_kills_the_old_token_at_once():
    app = site()
    client = app.test_client()
    client.get("/set?a=1")
    old = token(client)
    made = cookie(client.get("/rotate"))
    assert token(client) in made
    assert token(client) != old
    assert app.store.load(old) is None
    assert client.get("/read").json == {"a": "1"}


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
