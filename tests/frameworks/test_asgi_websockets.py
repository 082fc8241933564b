"""A websocket's session: a cookie with the handshake at most, and saves when it says so."""

from __future__ import annotations

import asyncio

import pytest

from clustercache.asgi import SessionMiddleware
from clustercache.exceptions import SessionGoneError, SessionTooLargeError
from tests.frameworks.asgi_browser import Browser
from tests.frameworks.asgi_faults import failing, stored

DENIAL = "websocket.http.response"


async def echo(scope, receive, send):
    """Do what the path says before the handshake, and what each text says after it."""
    session = scope["session"]
    await receive()
    if scope["path"] == "/put":
        session["a"] = 1
    elif scope["path"] == "/look":
        session.get("a")
    await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})
    while (message := await receive())["type"] == "websocket.receive":
        told = await obey(session, message["text"])
        await send({"type": "websocket.send", "text": told})


async def obey(session, text):
    if text == "reload":
        return str(await session.reload())
    if text == "save":
        session["late"] = 1
        return str(await session.save())
    if text == "rotate":
        session.rotate()
        try:
            await session.save()
        except RuntimeError as error:
            return str(error)
    return str(session.get(text))


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def opened(app=echo):
    store = stored()
    browser = Browser(SessionMiddleware(app, store=store))
    browser.cookies["session"] = (await store.create({"a": 0})).token
    return browser, store


async def closed(browser, path="/look", **options):
    """Return the first message, and what came after it."""
    async with browser.websocket(path, **options) as one:
        rest = []
        if one.first["type"].startswith(DENIAL):
            rest.append(await one.next())
    return one.first, rest


def test_it_reads_the_session_of_the_browser():
    async def main():
        browser, _ = await opened()
        async with browser.websocket() as one:
            assert one.cookie_lines == []
            assert (await one.say("a"))["text"] == "0"

    run(main())


def test_a_new_session_sets_its_cookie_with_the_handshake():
    async def main():
        browser, store = await opened()
        browser.cookies.clear()
        browser.scheme = "https"
        async with browser.websocket("/put") as one:
            (line,) = one.cookie_lines
            assert line.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
            assert {name for name, _ in one.first["headers"]} == {b"x-own", b"set-cookie"}
            assert dict(await store.load(browser.cookies["session"])) == {"a": 1}

    run(main())


@pytest.mark.parametrize("looked", [None, "before the handshake"])
def test_later_changes_are_saved_by_save(looked):
    async def main():
        browser, store = await opened()
        async with browser.websocket("/" if looked is None else "/look") as one:
            await one.say("save")
            assert dict(await store.load(browser.cookies["session"])) == {"a": 0, "late": 1}
            assert "no cookie can be set" in (await one.say("rotate"))["text"]
        assert await store.load(browser.cookies["session"]) is not None

    run(main())


def test_reload_tells_whether_it_may_still_be_used():
    async def main():
        browser, store = await opened()
        async with browser.websocket() as one:
            assert (await one.say("reload"))["text"] == "True"
            other = await store.load(browser.cookies["session"])
            other["a"] = 5
            await store.save(other)
            assert (await one.say("a"))["text"] == "0"
            assert (await one.say("reload"))["text"] == "True"
            assert (await one.say("a"))["text"] == "5"
            await store.delete(other)
            assert (await one.say("reload"))["text"] == "False"

    run(main())


def test_reload_takes_a_token_that_was_replaced_for_none():
    async def main():
        browser, store = await opened()
        async with browser.websocket() as one:
            await store.login(await store.load(browser.cookies["session"]), "u1")
            assert (await one.say("reload"))["text"] == "False"

    run(main())


def test_while_the_store_is_away_it_is_refused_or_closed_to_try_again():
    async def main():
        browser, store = await opened()
        before = dict(browser.cookies)
        with failing(store):
            first, _ = await closed(browser)
            assert first == {"type": "websocket.close", "code": 1013, "reason": "session"}
            first, (body,) = await closed(browser, extensions=[DENIAL])
            assert (first["type"], first["status"]) == (f"{DENIAL}.start", 503)
            assert (b"retry-after", b"1") in first["headers"]
            assert body["type"] == f"{DENIAL}.body"
        assert browser.cookies == before
        async with browser.websocket() as one:
            with failing(store):
                last = await one.say("reload")
            assert last == {"type": "websocket.close", "code": 1013, "reason": "session"}

    run(main())


def test_a_handshake_whose_save_fails_is_refused():
    async def main():
        browser, store = await opened()
        with failing(store, "save"):
            first, _ = await closed(browser, "/put")
        assert (first["type"], first["code"]) == ("websocket.close", 1013)

    run(main())


@pytest.mark.parametrize("extensions", [[], [DENIAL]])
def test_a_session_that_was_ended_closes_it_for_good(extensions):
    async def main():
        browser, store = await opened()
        async with browser.websocket(extensions=extensions) as one:
            await store.delete(await store.load(browser.cookies["session"]))
            last = await one.say("save")
            assert last == {"type": "websocket.close", "code": 1008, "reason": "session"}

    run(main())


def test_the_application_may_handle_a_handshake_whose_save_fails():
    async def app(scope, receive, send):
        await receive()
        scope["session"]["a"] = 1
        with pytest.raises(SessionGoneError):
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000})

    async def main():
        browser, store = await opened(app)
        with failing(store, "save", error=SessionGoneError):
            first, _ = await closed(browser)
        assert first["code"] == 4000

    run(main())


def test_other_errors_pass():
    async def app(scope, receive, send):
        raise SessionTooLargeError("too large")

    async def main():
        browser, _ = await opened(app)
        with pytest.raises(SessionTooLargeError):
            await browser.app(browser.scope("websocket", "/"), None, None)

    run(main())
