"""What the races need, in Starlette."""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from clustercache.asgi import SessionMiddleware


async def form(request):
    return dict(parse_qsl((await request.body()).decode()))


async def home(_request):
    return PlainTextResponse("welcome")


async def login(request):
    request.session.login((await form(request))["user"])
    return PlainTextResponse("welcome")


async def put(request):
    fields = await form(request)
    if request.session.user is None:
        return PlainTextResponse("", 401)
    await asyncio.sleep(float(fields["wait"]))
    request.session[fields["name"]] = fields["value"]
    return PlainTextResponse("done")


async def read(request):
    if request.session.user is None:
        return PlainTextResponse("", 401)
    return JSONResponse(dict(request.session))


async def logout(request):
    request.session.flush()
    return PlainTextResponse("goodbye")


app = Starlette(
    routes=[
        Route("/", home),
        Route("/login", login, methods=["POST"]),
        Route("/put", put, methods=["POST"]),
        Route("/read", read),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[
        Middleware(
            SessionMiddleware,
            url=os.environ["CLUSTERCACHE_URL"],
            **json.loads(os.environ["SETTINGS"]),
        )
    ],
)
