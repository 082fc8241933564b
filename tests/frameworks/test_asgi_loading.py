"""When a session is loaded, what may look first, and what the middleware refuses."""

from __future__ import annotations

import pytest

from clustercache.asgi import SessionMiddleware
from clustercache.exceptions import ConfigurationError, SessionNotLoadedError
from clustercache.sessions import SessionStore
from tests.frameworks.asgi_browser import page, paths
from tests.frameworks.asgi_faults import counted, stored
from tests.frameworks.asgi_views import nothing, opened, run

# Lazily, and by path ------------------------------------------------------------------------------


async def lazily(session, scope):
    try:
        return dict(session)
    except SessionNotLoadedError:
        return "not loaded"


async def loading(session, scope):
    loaded = await session.load()
    assert loaded is session
    assert await session.load() is session
    return dict(session)


def test_lazily_nothing_is_sent_before_load():
    async def main():
        browser, store = opened(view=paths(look=lazily, load=loading), load="lazy")
        browser.cookies["session"] = (await store.create({"a": 1})).token
        with counted(store) as calls:
            assert (await browser.get("/look")).json == "not loaded"
            assert calls == []
            assert (await browser.get("/load")).json == {"a": 1}
        assert calls == ["load"]
        browser.cookies.clear()
        assert (await browser.get("/look")).json == "not loaded"
        assert (await browser.get("/load")).json == {}

    run(main())


def test_eagerly_load_has_nothing_left_to_do():
    async def main():
        browser, store = opened(view=loading)
        browser.cookies["session"] = (await store.create({"a": 1})).token
        with counted(store) as calls:
            assert (await browser.get()).json == {"a": 1}
        assert calls == ["load"]

    run(main())


FILTERS = [
    ({}, "/static/x", True),
    ({"exclude": ["/static/*", "/health"]}, "/static/x", False),
    ({"exclude": ["/static/*", "/health"]}, "/health", False),
    ({"exclude": ["/static/*", "/health"]}, "/healthy", True),
    ({"exclude": "/"}, "/", False),
    ({"exclude": "/"}, "/x", True),
    ({"exclude": "*"}, "/x", False),
    ({"include": ["/app/*"]}, "/app/x", True),
    ({"include": ["/app/*"]}, "/", False),
    ({"include": "/app/*", "exclude": "/app/static/*"}, "/app/static/x", False),
]


@pytest.mark.parametrize(("options", "path", "eager"), FILTERS)
def test_paths_can_be_left_out_of_the_loading_before(options, path, eager):
    async def main():
        browser, store = opened(view=lazily, **options)
        browser.cookies["session"] = (await store.create({"a": 1})).token
        assert (await browser.get(path)).json == ({"a": 1} if eager else "not loaded")

    run(main())


# The mapping --------------------------------------------------------------------------------------


async def _set(session):
    session["b"] = 2


async def _delete(session):
    del session["a"]


async def _unite(session):
    session |= {"b": 2}


async def _pop_item(session):
    assert session.popitem() == ("a", 1)


FIRSTS = {
    "set": (_set, {"a": 1, "b": 2}),
    "delete": (_delete, {}),
    "unite": (_unite, {"a": 1, "b": 2}),
    "pop item": (_pop_item, {}),
}


@pytest.mark.parametrize("name", FIRSTS)
def test_the_first_look_may_be_any(name):
    do, expected = FIRSTS[name]

    async def view(session, scope):
        await do(session)
        return dict(session)

    async def main():
        browser, store = opened(view=view)
        browser.cookies["session"] = token = (await store.create({"a": 1})).token
        assert (await browser.get()).json == expected
        assert dict(await store.load(token)) == expected

    run(main())


def test_before_any_look_it_tells_nothing():
    async def shown(session, scope):
        return repr(session)

    browser, _ = opened(view=shown)
    answer = run(browser.get())
    assert answer.json == "<Session not looked at>"
    assert answer.one("vary") is None


def test_an_empty_session_has_no_last_item():
    async def view(session, scope):
        with pytest.raises(KeyError, match="empty"):
            session.popitem()

    assert run(opened(view=view)[0].get()).status == 200


# Other scopes and settings ------------------------------------------------------------------------


def test_other_scopes_pass_untouched():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": "telnet"}, object(), object()
    run(SessionMiddleware(app, store=stored())(scope, receive, send))
    assert seen == [(scope, receive, send)]
    assert scope == {"type": "telnet"}


@pytest.mark.parametrize("outcome", ["complete", "failed"])
def test_its_own_store_is_closed_before_the_server_hears_of_the_shutdown(outcome, monkeypatch):
    order = []

    async def app(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})
        await send({"type": f"lifespan.shutdown.{outcome}"})

    async def aclose(self):
        order.append("closed")

    async def send(message):
        order.append(message["type"])

    middleware = SessionMiddleware(app, url="memory://")
    monkeypatch.setattr(type(middleware.store), "aclose", aclose)
    run(middleware({"type": "lifespan"}, None, send))
    assert order == ["lifespan.startup.complete", "closed", f"lifespan.shutdown.{outcome}"]
    order.clear()
    run(SessionMiddleware(app, store=stored())({"type": "lifespan"}, None, send))
    assert "closed" not in order


WRONG = [
    ({}, "takes a url"),
    ({"url": "memory://", "store": stored()}, "takes a url"),
    ({"store": stored(), "idle": 1}, "takes a url"),
    ({"store": SessionStore.from_url("memory://")}, "AsyncSessionStore"),
    ({"url": "memory://", "load": "later"}, "eager or lazy"),
    ({"url": "memory://", "idle": -1}, "idle"),
    ({"url": "memory://", "cookie": "__Host-x", "path": "/x"}, "__Host-"),
]


@pytest.mark.parametrize(("options", "why"), WRONG, ids=[why for _, why in WRONG])
def test_settings_that_cannot_work_are_refused_at_once(options, why):
    with pytest.raises(ConfigurationError, match=why):
        SessionMiddleware(page(nothing), **options)
