"""Litestar: `request.session`, and the methods by which it replaces and clears it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar, Request, get, post
from litestar.exceptions import LitestarException
from litestar.middleware import DefineMiddleware
from litestar.response import Response

from clustercache.asgi import SessionMiddleware
from clustercache.exceptions import SessionGoneError, SessionUnavailableError
from tests.frameworks.asgi_browser import Browser
from tests.frameworks.asgi_faults import failing, stored


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@get("/view")
async def view(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


@post("/update")
async def update(request: Request[Any, Any, Any]) -> dict[str, Any]:
    request.session.update(await request.json())
    return dict(request.session)


@post("/set")
async def replace(request: Request[Any, Any, Any]) -> None:
    request.set_session(await request.json())


@post("/clear")
async def clear(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@dataclass
class Data:
    a: int


@post("/model")
async def model(request: Request[Any, Any, Any]) -> None:
    request.set_session(Data(1))


@post("/save")
async def save(request: Request[Any, Any, Any]) -> None:
    request.session["a"] = 2
    await request.session.save()


@get("/wrong")
async def wrong(request: Request[Any, Any, Any]) -> None:
    raise ZeroDivisionError(request.session["a"])


@get("/none")
async def none() -> str:
    return "none"


def own_page(request, error):
    return Response({"own": type(error).__name__}, status_code=599)


def litestar(handlers=None):
    store = stored()
    middleware = [DefineMiddleware(SessionMiddleware, store=store)]
    app = Litestar(
        route_handlers=[view, update, replace, clear, model, save, wrong, none],
        middleware=middleware,
        exception_handlers=handlers or {},
        logging_config=None,
        openapi_config=None,
    )
    return Browser(app), store


def test_it_is_read_changed_replaced_and_cleared():
    async def main():
        browser, store = litestar()
        await browser.post("/update", {"a": 1})
        assert (await browser.get("/view")).json == {"a": 1}
        await browser.post("/set", {"b": 2})
        assert (await browser.get("/view")).json == {"b": 2}
        assert (await browser.get("/none")).one("vary") is None
        assert (await browser.post("/clear")).status == 201
        assert browser.cookies == {}
        assert await store.count() == 0

    run(main())


def test_what_is_no_mapping_is_refused():
    async def main():
        browser, _ = litestar()
        with pytest.raises(LitestarException) as caught:  # the server answers 500
            await browser.post("/model")
        error: Any = caught.value
        while error.__cause__ is not None:
            error = error.__cause__
        assert str(error) == "a session holds what a mapping does, got a Data"

    run(main())


def test_what_nobody_handles_is_answered_503_and_not_its_500():
    async def main():
        browser, store = litestar()
        await browser.post("/update", {"a": 1})
        before = dict(browser.cookies)
        with failing(store):
            answer = await browser.get("/view")
        assert (answer.status, answer.one("retry-after")) == (503, "1")
        with failing(store, "save", error=SessionGoneError):
            assert (await browser.post("/save")).status == 409
        assert browser.cookies == before

    run(main())


def test_its_500_for_anything_else_stays():
    async def main():
        browser, _ = litestar()
        await browser.post("/update", {"a": 1})
        assert (await browser.get("/wrong")).status == 500

    run(main())


def test_its_handlers_see_a_session_that_cannot_be_read():
    async def main():
        browser, store = litestar({SessionUnavailableError: own_page})
        await browser.post("/update", {"a": 1})
        with failing(store):
            assert (await browser.get("/view")).json == {"own": "SessionUnavailableError"}
            assert (await browser.get("/none")).status == 200

    run(main())


@pytest.mark.parametrize("path", ["/update", "/set", "/clear"])
def test_a_save_that_fails_is_answered_503(path):
    async def main():
        browser, store = litestar()
        await browser.post("/update", {"a": 1})
        before = dict(browser.cookies)
        with failing(store, "save", "unlink"):
            answer = await browser.post(path, {"a": 2})
        assert (answer.status, answer.one("retry-after")) == (503, "1")
        assert browser.cookies == before

    run(main())
