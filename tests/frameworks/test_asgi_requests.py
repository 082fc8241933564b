"""A session for each request, whatever the application is made with."""

from __future__ import annotations

import asyncio

import pytest

from clustercache.asgi import RequestSession, SessionMiddleware
from clustercache.exceptions import ConfigurationError, SessionNotLoadedError
from clustercache.sessions import Session, SessionStore
from tests.frameworks.asgi_browser import Browser, page, paths
from tests.frameworks.asgi_faults import Clock, counted, stored


async def look(session, scope):
    return dict(session)


async def put(session, scope):
    name, _, value = scope["path"].removeprefix("/put/").partition("/")
    session[name] = value
    return dict(session)


async def end(session, scope):
    session.flush()


async def nothing(session, scope):
    return None


VIEWS = paths(look=look, put=put, end=end, home=nothing)


def opened(store=None, view=VIEWS, headers=(), **options):
    store = store or stored()
    return Browser(SessionMiddleware(page(view, headers), store=store, **options)), store


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def test_what_one_request_puts_in_the_next_one_finds():
    async def main():
        browser, _ = opened()
        assert (await browser.get("/look")).json == {}
        await browser.get("/put/a/1")
        assert (await browser.get("/look")).json == {"a": "1"}

    run(main())


def test_the_session_is_one_of_ours():
    async def view(session, scope):
        return isinstance(session, Session) and isinstance(session, RequestSession)

    assert run(opened(view=view)[0].get()).json is True


def test_a_request_that_never_looks_sends_nothing_without_a_cookie():
    async def main():
        browser, store = opened()
        with counted(store) as calls:
            answer = await browser.get("/")
        assert calls == []
        assert answer.all("vary") == answer.all("set-cookie") == answer.all("cache-control") == []

    run(main())


def test_an_empty_new_session_is_never_written_and_sets_no_cookie():
    async def main():
        browser, store = opened()
        with counted(store) as calls:
            answer = await browser.get("/look")
        assert calls == []
        assert answer.one("set-cookie") is None
        assert answer.one("vary") == "Cookie"

    run(main())


def test_a_request_with_a_cookie_loads_once_and_writes_only_what_is_due():
    async def main():
        browser, store = opened()
        await browser.get("/put/a/1")
        read, written = ["load"], ["load", "save"]
        for path, due in [("/", read), ("/look", read), ("/put/a/1", read), ("/put/a/2", written)]:
            with counted(store) as calls:
                answer = await browser.get(path)
            assert calls == due
            assert answer.one("set-cookie") is None
            assert answer.one("vary") == (None if path == "/" else "Cookie")

    run(main())


def test_a_touch_that_is_due_needs_nobody_to_look():
    async def main():
        clock = Clock()
        browser, store = opened(stored(clock))
        await browser.get("/put/a/1")
        clock.now += store.settings.touch_after
        with counted(store) as calls:
            answer = await browser.get("/")
        assert calls == ["load", "save"]
        assert answer.headers == [("content-type", "application/json")]

    run(main())


def test_a_cookie_goes_with_no_store_and_vary_in_place_of_what_would_cache_it():
    async def main():
        given = [(b"Cache-Control", b"public, max-age=60"), (b"Vary", b"Accept")]
        browser, _ = opened(headers=given)
        answer = await browser.get("/put/a/1")
        assert answer.all("cache-control") == ["no-store"]
        assert answer.all("vary") == ["Accept", "Cookie"]
        answer = await browser.get("/look")
        assert answer.all("cache-control") == ["public, max-age=60"]

    run(main())


@pytest.mark.parametrize("given", [b"Accept, cookie", b"*"])
def test_a_vary_that_says_it_already_is_left_as_it_is(given):
    browser, _ = opened(headers=[(b"vary", given)])
    assert run(browser.get("/look")).all("vary") == [given.decode()]


def test_the_cookie_has_the_attributes_asked_for_and_is_deleted_with_them():
    async def main():
        browser, _ = opened(
            cookie="__Host-id", same_site="strict", partitioned=True, max_age=60, http_only=True
        )
        line = (await browser.get("/put/a/1")).one("set-cookie")
        attributes = "Path=/; HttpOnly; SameSite=Strict; Partitioned; Secure"
        assert line == f"__Host-id={line[10:49]}; Max-Age=60; {attributes}"
        line = (await browser.get("/end")).one("set-cookie")
        assert line.startswith("__Host-id=; ")
        assert line.endswith(attributes)
        assert browser.cookies == {}

    run(main())


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_the_cookie_is_secure_where_the_request_was(scheme, secure):
    browser, _ = opened()
    browser.scheme = scheme
    line = run(browser.get("/put/a/1")).one("set-cookie")
    assert line.endswith("; Secure") is secure


@pytest.mark.parametrize(
    "cookie", ["forged", "", "AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA", "a.b", "\xe9"]
)
def test_an_id_that_we_did_not_issue_is_never_adopted_nor_is_its_cookie_deleted(cookie):
    async def main():
        browser, _ = opened()
        browser.cookies["session"] = cookie
        answer = await browser.get("/look")
        assert answer.json == {}
        assert answer.one("set-cookie") is None
        await browser.get("/put/a/1")
        assert browser.cookies["session"] not in {cookie, ""}

    run(main())


def test_logout_ends_the_session_and_deletes_the_cookie():
    async def main():
        browser, store = opened()
        await browser.get("/put/a/1")
        token = browser.cookies["session"]
        await browser.get("/end")
        assert browser.cookies == {}
        assert await store.load(token) is None

    run(main())


def test_what_is_put_after_a_clear_begins_a_session_with_a_new_token():
    async def again(session, scope):
        session.clear()
        session["b"] = 2

    async def main():
        browser, store = opened(view=paths(put=put, look=look, again=again))
        await browser.get("/put/a/1")
        before = browser.cookies["session"]
        await browser.get("/again")
        assert (await browser.get("/look")).json == {"b": 2}
        assert browser.cookies["session"] != before
        assert await store.load(before) is None

    run(main())


def test_a_login_replaces_the_token_and_every_framework_sees_whose_it_is():
    async def login(session, scope):
        session.login("u1", device="Firefox", address="127.0.0.1")

    async def who(session, scope):
        return session.user

    async def main():
        store = stored()
        browser, _ = opened(store, paths(put=put, login=login, who=who))
        await browser.get("/put/a/1")
        before = browser.cookies["session"]
        await browser.get("/login")
        assert (await browser.get("/who")).json == "u1"
        assert await store.load(before) is None
        (info,) = await store.sessions_of("u1")
        assert (info.device, info.address) == ("Firefox", "127.0.0.1")

    run(main())


@pytest.mark.parametrize("field", ["_user_id", "_auth_user_id"])
def test_a_login_of_another_framework_is_one_here(field):
    async def who(session, scope):
        return session.user

    theirs = SessionStore.from_url(f"memory://asgi{field}")
    session = theirs.new()
    session[field] = "u1"
    session.login("u1")
    theirs.save(session)

    async def main():
        app = SessionMiddleware(page(paths(who=who, put=put)), url=f"memory://asgi{field}")
        browser = Browser(app, cookies={"session": session.token})
        assert (await browser.get("/who")).json == "u1"
        before = session.token
        await browser.get(f"/put/{field}/u2")
        assert theirs.load(before) is None
        assert theirs.load(browser.cookies["session"]).user == "u2"

    run(main())


def test_a_save_in_the_middle_is_not_forgotten_by_the_cookie():
    async def middle(session, scope):
        session["a"] = 1
        saved = await session.save()
        session["b"] = 2
        return saved.set_token

    async def main():
        browser, store = opened(view=middle)
        token = (await browser.get()).json
        assert browser.cookies["session"] == token
        assert dict(await store.load(token)) == {"a": 1, "b": 2}

    run(main())


async def streamed(scope, receive, send):
    """Answer, and change the session when it is too late for the cookie."""
    session, do = scope["session"], scope["path"][1:]
    session.get("a")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        if do == "rotate":
            session.rotate()
        elif do == "login":
            session.login("u")
        else:
            session["late"] = 1
        await session.save()
        told = b"saved"
    except RuntimeError as error:
        told = str(error).encode()
    await send({"type": "http.response.body", "body": told})


def test_later_changes_need_a_save_of_their_own():
    async def main():
        store = stored()
        browser = Browser(SessionMiddleware(streamed, store=store))
        browser.cookies["session"] = (await store.create({"a": 1})).token
        assert (await browser.get("/put")).body == b"saved"
        assert dict(await store.load(browser.cookies["session"])) == {"a": 1, "late": 1}

    run(main())


@pytest.mark.parametrize("do", ["rotate", "login", "new"])
def test_what_needs_a_cookie_is_refused_once_the_response_has_started(do):
    async def main():
        store = stored()
        browser = Browser(SessionMiddleware(streamed, store=store))
        if do != "new":
            browser.cookies["session"] = (await store.create({"a": 1})).token
        assert b"no cookie can be set" in (await browser.get(f"/{do}")).body
        if do != "new":
            assert await store.load(browser.cookies["session"]) is not None

    run(main())


def test_a_renewal_reaches_the_browser_also_where_nobody_looked():
    async def main():
        clock = Clock()
        browser, store = opened(stored(clock))
        await browser.get("/put/a/1")
        before = browser.cookies["session"]
        clock.now += store.settings.renew_after
        answer = await browser.get("/")
        assert browser.cookies["session"] != before
        assert answer.one("vary") == "Cookie"
        assert answer.one("cache-control") == "no-store"
        assert (await browser.get("/look")).json == {"a": "1"}

    run(main())


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
