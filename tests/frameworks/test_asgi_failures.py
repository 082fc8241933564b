"""A session that cannot be read or saved: 503 or 409 where it matters, and no cookie touched."""

from __future__ import annotations

import asyncio

import pytest

from clustercache.asgi import SessionMiddleware
from clustercache.exceptions import (
    OutcomeUnknownError,
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from tests.frameworks.asgi_browser import Browser, page, paths
from tests.frameworks.asgi_faults import Clock, counted, failing, stored


async def home(session, scope):
    return "home"


async def look(session, scope):
    return dict(session)


async def who(session, scope):
    return [session.user, session.stale, session.is_new]


async def put(session, scope):
    session["b"] = 2


async def flush(session, scope):
    session.flush()


async def login(session, scope):
    session.login("u1")


async def handled(session, scope):
    try:
        return dict(session)
    except SessionUnavailableError as error:
        return f"handled {error.retry_after}"


VIEWS = paths(home=home, look=look, who=who, put=put, flush=flush, login=login, handled=handled)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def opened(view=VIEWS, clock=None, **settings):
    """Return a browser with a stored session, and the store."""
    store = stored(clock, **settings) if clock else stored(**settings)
    browser = Browser(SessionMiddleware(page(view), store=store))
    browser.cookies["session"] = (await store.create({"a": 1})).token
    return browser, store


def refused(answer, status, browser, before):
    """Check that an answer tells of an error, and that the browser's cookie is as it was."""
    assert answer.status == status
    assert answer.one("retry-after") == ("1" if status == 503 else None)
    assert answer.one("cache-control") == "no-store"
    assert int(answer.one("content-length")) == len(answer.body) > 10
    assert answer.one("set-cookie") is None
    assert browser.cookies == before
    return True


# Loading ------------------------------------------------------------------------------------------


def test_a_page_that_never_looks_does_not_notice():
    async def main():
        browser, store = await opened()
        with failing(store):
            answer = await browser.get("/")
        assert (answer.status, answer.json) == (200, "home")
        assert answer.one("set-cookie") is None

    run(main())


@pytest.mark.parametrize("path", ["/look", "/who", "/put", "/flush", "/login"])
def test_a_page_that_looks_is_answered_503_and_its_cookie_stays(path):
    async def main():
        browser, store = await opened()
        before = dict(browser.cookies)
        with failing(store) as asked:
            answer = await browser.get(path)
        assert refused(answer, 503, browser, before)
        assert asked.asked == ["load"]
        assert (await browser.get("/look")).json == {"a": 1}

    run(main())


def test_without_a_cookie_nobody_is_asked():
    async def main():
        browser, store = await opened()
        browser.cookies.clear()
        with failing(store):
            assert (await browser.get("/look")).json == {}

    run(main())


def test_the_application_may_handle_it():
    async def main():
        browser, store = await opened()
        with failing(store):
            answer = await browser.get("/handled")
        assert (answer.status, answer.json) == (200, "handled 1")
        assert answer.one("set-cookie") is None

    run(main())


def test_lazily_it_is_load_that_raises():
    async def view(session, scope):
        with pytest.raises(SessionUnavailableError):
            await session.load()
        with pytest.raises(SessionUnavailableError):
            session.get("a")
        return "seen"

    async def main():
        store = stored()
        browser = Browser(SessionMiddleware(page(view), store=store, load="lazy"))
        browser.cookies["session"] = (await store.create({"a": 1})).token
        with failing(store):
            assert (await browser.get()).json == "seen"

    run(main())


@pytest.mark.parametrize("mode", ["read_only", "anonymous"])
def test_where_so_set_reading_goes_on_with_nothing_and_changes_are_refused(mode):
    async def main():
        browser, store = await opened(on_unavailable=mode)
        before = dict(browser.cookies)
        with failing(store):
            assert (await browser.get("/look")).json == {}
            answer = await browser.get("/who")
            assert answer.json == [None, mode == "read_only", True]
            assert answer.one("set-cookie") is None
            for path in ("/put", "/flush", "/login"):
                assert refused(await browser.get(path), 503, browser, before)
        assert (await browser.get("/look")).json == {"a": 1}

    run(main())


CHANGES = {
    "delete": lambda s: s.__delitem__("a"),
    "update": lambda s: s.update(a=1),
    "clear": lambda s: s.clear(),
    "incr": lambda s: s.incr("n"),
    "append": lambda s: s.append("l", 1),
    "rotate": lambda s: s.rotate(),
    "logout": lambda s: s.logout(),
}


@pytest.mark.parametrize("first", ["look first", "at once"])
@pytest.mark.parametrize("name", CHANGES)
def test_every_change_of_what_cannot_be_read_is_refused_at_once(name, first):
    async def view(session, scope):
        if first == "look first":
            assert dict(session) == {}
        with pytest.raises(SessionUnavailableError):
            CHANGES[name](session)
        with pytest.raises(SessionUnavailableError):
            await session.reload()
        return "seen"

    async def main():
        browser, store = await opened(view, on_unavailable="anonymous")
        with failing(store):
            assert (await browser.get()).json == "seen"

    run(main())


# Saving -------------------------------------------------------------------------------------------

REFUSALS = [
    (SessionUnavailableError, 503),
    (OutcomeUnknownError, 503),
    (SessionGoneError, 409),
    (SessionRevokedError, 409),
    (SessionLimitError, 409),
]


@pytest.mark.parametrize(("error", "status"), REFUSALS)
def test_a_save_that_fails_is_answered_in_place_of_the_response(error, status):
    async def main():
        browser, store = await opened()
        before = dict(browser.cookies)
        with failing(store, "save", error=error):
            assert refused(await browser.get("/put"), status, browser, before)
        assert (await browser.get("/look")).json == {"a": 1}

    run(main())


def test_a_logout_wins_over_a_slow_request_that_changes():
    async def main():
        async def slow(session, scope):
            session["b"] = 2
            await store.delete(await store.load(browser.cookies["session"]))

        browser, store = await opened(paths(slow=slow, look=look))
        before = dict(browser.cookies)
        assert refused(await browser.get("/slow"), 409, browser, before)
        assert await store.count() == 0

    run(main())


@pytest.mark.parametrize("error", [SessionUnavailableError, OutcomeUnknownError, SessionGoneError])
@pytest.mark.parametrize("path", ["/", "/look"])
def test_a_request_that_only_reads_goes_on_where_its_touch_or_renewal_fails(path, error):
    async def main():
        clock = Clock()
        browser, store = await opened(clock=clock)
        clock.now += store.settings.renew_after
        before = dict(browser.cookies)
        with failing(store, "save", error=error) as asked:
            answer = await browser.get(path)
        assert asked.asked == ["load", "save"]
        assert answer.status == 200
        assert answer.one("set-cookie") is None
        assert browser.cookies == before

    run(main())


def test_what_is_too_large_is_the_applications_own_error():
    async def long(session, scope):
        session["x"] = "x" * 11

    async def main():
        browser, store = await opened(long, max_bytes=10)
        with counted(store) as calls, pytest.raises(SessionTooLargeError):
            await browser.get()
        assert calls == ["load"]

    run(main())


@pytest.mark.parametrize("error", [SessionUnavailableError, SessionGoneError])
def test_a_save_of_the_applications_own_raises_there(error):
    async def view(session, scope):
        session["b"] = 2
        with pytest.raises(error):
            await session.save()
        session.pop("b")
        return "handled"

    async def main():
        browser, store = await opened(view)
        with failing(store, "save", error=error):
            assert (await browser.get()).json == "handled"

    run(main())


def test_after_the_response_has_started_it_is_for_the_server_to_log():
    async def app(scope, receive, send):
        scope["session"].get("a")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["b"] = 1
        await scope["session"].save()

    async def main():
        store = stored()
        browser = Browser(SessionMiddleware(app, store=store))
        browser.cookies["session"] = (await store.create({"a": 1})).token
        with failing(store, "save"), pytest.raises(SessionUnavailableError):
            await browser.get()

    run(main())


def test_other_errors_pass_and_nothing_is_saved():
    async def view(session, scope):
        session["b"] = 2
        raise ZeroDivisionError

    async def main():
        browser, store = await opened(view)
        with counted(store) as calls, pytest.raises(ZeroDivisionError):
            await browser.get()
        assert calls == ["load"]

    run(main())
