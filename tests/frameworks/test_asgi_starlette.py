"""Starlette and FastAPI: `request.session` works as theirs, and their handlers see the errors."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request  # noqa: TC002 - FastAPI reads annotations
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from clustercache.asgi import SessionMiddleware
from clustercache.exceptions import (
    SessionError,
    SessionGoneError,
    SessionTooLargeError,
    SessionUnavailableError,
)
from clustercache.sessions import Session
from tests.frameworks.asgi_browser import Browser
from tests.frameworks.asgi_faults import failing, stored


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def view_session(request):
    return JSONResponse({"session": dict(request.session)})


async def update_session(request):
    request.session.update(await request.json())
    return JSONResponse({"session": dict(request.session)})


async def update_in_place(request):
    session = request.session
    session |= await request.json()
    return JSONResponse({"session": dict(request.session)})


async def pop_item(request):
    request.session.popitem()
    return JSONResponse({"session": dict(request.session)})


async def clear_session(request):
    request.session.clear()
    return JSONResponse({"session": dict(request.session)})


async def no_access(request):
    return JSONResponse({"status": "ok"})


ROUTES = [
    Route("/view", view_session),
    Route("/update", update_session, methods=["POST"]),
    Route("/in_place", update_in_place, methods=["POST"]),
    Route("/popitem", pop_item, methods=["POST"]),
    Route("/clear", clear_session, methods=["POST"]),
    Route("/none", no_access),
]


def starlette(routes=ROUTES, scheme="http", handlers=None, more=(), **options):
    options = options or {"store": stored()}
    middleware = [Middleware(SessionMiddleware, **options), *more]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    return Browser(app, scheme)


# As its own session middleware does ---------------------------------------------------------------


def test_it_is_read_changed_and_cleared():
    async def main():
        browser = starlette()
        assert (await browser.get("/view")).json == {"session": {}}
        answer = await browser.post("/update", {"some": "data"})
        assert answer.json == {"session": {"some": "data"}}
        assert (await browser.get("/view")).json == {"session": {"some": "data"}}
        answer = await browser.post("/clear")
        assert answer.json == {"session": {}}
        assert browser.cookies == {}
        assert (await browser.get("/view")).json == {"session": {}}

    run(main())


MUTATIONS = [
    ("/in_place", {"c": "3"}, {"a": "1", "b": "2", "c": "3"}),
    ("/popitem", None, {"a": "1"}),
]


@pytest.mark.parametrize(("path", "data", "expected"), MUTATIONS)
def test_changes_in_place_last(path, data, expected):
    async def main():
        browser = starlette()
        await browser.post("/update", {"a": "1", "b": "2"})
        assert (await browser.post(path, data)).json == {"session": expected}
        assert (await browser.get("/view")).json == {"session": expected}

    run(main())


def test_its_cookie_is_set_only_where_it_is_new():
    async def main():
        browser = starlette()
        assert (await browser.post("/update", {"some": "data"})).one("set-cookie")
        assert (await browser.get("/view")).one("set-cookie") is None
        assert (await browser.post("/update", {"some": "more"})).one("set-cookie") is None

    run(main())


def test_vary_is_there_where_it_was_looked_at():
    async def main():
        browser = starlette()
        assert (await browser.post("/update", {"some": "data"})).one("vary") == "Cookie"
        assert (await browser.get("/view")).one("vary") == "Cookie"
        assert (await browser.get("/none")).one("vary") is None

    run(main())


def test_only_with_a_maximum_age_it_outlives_the_browser():
    async def main():
        kept = starlette(store=stored(), max_age=14 * 24 * 3600)
        line = (await kept.post("/update", {"some": "data"})).one("set-cookie")
        assert "; Max-Age=1209600;" in line
        line = (await starlette().post("/update", {"some": "data"})).one("set-cookie")
        assert "Max-Age" not in line
        assert "Expires" not in line

    run(main())


def test_an_invalid_cookie_is_as_none():
    browser = starlette()
    browser.cookies["session"] = "invalid"
    assert run(browser.get("/view")).json == {"session": {}}


def test_a_mounted_application_may_have_one_of_its_own():
    async def main():
        inner = Starlette(
            routes=ROUTES,
            middleware=[Middleware(SessionMiddleware, store=stored(), path="/second")],
        )
        browser = Browser(Starlette(routes=[Mount("/second", app=inner)]))
        line = (await browser.post("/second/update", {"some": "data"})).one("set-cookie")
        assert "; Path=/second;" in line

    run(main())


def test_its_middleware_for_functions_lets_it_pass():
    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            request.session["seen"] = request.session.get("seen", 0) + 1
            return await call_next(request)

    async def main():
        browser = starlette(more=[Middleware(Timing)])
        await browser.get("/none")
        assert (await browser.get("/view")).json == {"session": {"seen": 2}}

    run(main())


def test_lazily_request_session_is_there_to_be_loaded():
    async def lazy(request):
        await request.session.load()
        return await view_session(request)

    async def main():
        store = stored()
        browser = starlette([Route("/lazy", lazy)], store=store, load="lazy")
        browser.cookies["session"] = (await store.create({"a": 1})).token
        assert (await browser.get("/lazy")).json == {"session": {"a": 1}}

    run(main())


def test_websockets_have_it_too():
    async def endpoint(websocket):
        await websocket.accept()
        while True:
            name = await websocket.receive_text()
            await websocket.send_text(str(websocket.session.get(name)))

    async def main():
        store = stored()
        browser = starlette([*ROUTES, WebSocketRoute("/ws", endpoint)], store=store)
        await browser.post("/update", {"some": "data"})
        one = browser.websocket("/ws")
        async with one:
            assert (await one.say("some"))["text"] == "data"
            one.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one.task
            one.task = asyncio.create_task(asyncio.sleep(0))

    run(main())


# Errors -------------------------------------------------------------------------------------------


async def own_page(request, error):
    return JSONResponse({"own": type(error).__name__}, status_code=599)


def sync_page(request, error):
    return JSONResponse({"own": type(error).__name__}, status_code=599)


HANDLERS = [
    {SessionUnavailableError: own_page, SessionGoneError: own_page},
    {SessionError: sync_page},
    {503: own_page, 409: own_page},
]


@pytest.mark.parametrize("handlers", HANDLERS[:2])
def test_handlers_see_a_session_that_cannot_be_read(handlers):
    async def main():
        store = stored()
        browser = starlette(store=store, handlers=handlers)
        await browser.post("/update", {"a": 1})
        with failing(store):
            answer = await browser.get("/view")
        assert (answer.status, answer.json) == (599, {"own": "SessionUnavailableError"})
        assert answer.one("set-cookie") is None

    run(main())


@pytest.mark.parametrize("error", [SessionUnavailableError, SessionGoneError])
@pytest.mark.parametrize("handlers", HANDLERS)
def test_handlers_see_a_save_that_fails(handlers, error):
    async def main():
        store = stored()
        browser = starlette(store=store, handlers=handlers)
        await browser.post("/update", {"a": 1})
        with failing(store, "save", error=error):
            answer = await browser.post("/update", {"a": 2})
        assert (answer.status, answer.json) == (599, {"own": error.__name__})
        assert answer.one("set-cookie") is None

    run(main())


def test_without_a_handler_both_are_503():
    async def main():
        store = stored()
        browser = starlette(store=store)
        await browser.post("/update", {"a": 1})
        before = dict(browser.cookies)
        with failing(store):
            assert (await browser.get("/none")).status == 200
            assert (await browser.get("/view")).status == 503
        with failing(store, "save"):
            answer = await browser.post("/update", {"a": 2})
        assert (answer.status, answer.one("retry-after")) == (503, "1")
        assert browser.cookies == before

    run(main())


def test_what_streams_is_answered_in_place_too():
    async def stream(request):
        request.session["a"] = 2
        return StreamingResponse(iter([b"one", b"two"]))

    async def main():
        store = stored()
        browser = starlette([*ROUTES, Route("/stream", stream)], store=store)
        await browser.post("/update", {"a": 1})
        with failing(store, "save"):
            assert (await browser.get("/stream")).status == 503
        assert (await browser.get("/stream")).body == b"onetwo"

    run(main())


def test_what_is_too_large_is_a_500_as_any_error_of_the_applications():
    async def main():
        browser = starlette(store=stored(max_bytes=10))
        with pytest.raises(SessionTooLargeError):
            await browser.post("/update", {"a": "x" * 11})

    run(main())


# FastAPI ------------------------------------------------------------------------------------------


def known(request: Request) -> Session:
    if request.session.user is None:
        raise HTTPException(401)
    return request.session


Known = Annotated[Session, Depends(known)]


def shop(**options):
    app = FastAPI()
    app.add_middleware(SessionMiddleware, **options)

    @app.post("/login/{user}")
    async def login(request: Request, user: str):
        request.session.login(user)
        request.session.setdefault("cart", [])
        return {}

    @app.post("/cart/{item}")
    def add(session: Known, item: str):  # in a thread, as FastAPI runs what is not async
        session["cart"].append(item)
        return session["cart"]

    @app.post("/logout")
    async def logout(request: Request):
        request.session.logout()
        return {}

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(str(websocket.session.user))
        await websocket.close()

    return Browser(app)


def test_fastapi_has_it_in_dependencies_and_in_threads():
    async def main():
        browser = shop(url="memory://")
        assert (await browser.post("/cart/tea")).status == 401
        await browser.post("/login/u1")
        await browser.post("/cart/tea")
        assert (await browser.post("/cart/milk")).json == ["tea", "milk"]
        async with browser.websocket("/ws") as one:
            assert (await one.next())["text"] == "u1"
        await browser.post("/logout")
        assert browser.cookies == {}
        assert (await browser.post("/cart/tea")).status == 401

    run(main())


def test_fastapi_never_takes_a_store_that_is_away_for_a_logout():
    async def main():
        store = stored()
        browser = shop(store=store)
        await browser.post("/login/u1")
        before = dict(browser.cookies)
        with failing(store):
            assert (await browser.post("/cart/tea")).status == 503
            assert (await browser.post("/logout")).status == 503
        assert browser.cookies == before
        assert (await browser.post("/cart/tea")).json == ["tea"]

    run(main())
