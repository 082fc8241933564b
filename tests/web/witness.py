"""A shop as its framework serves it; a header of each answer tells which process made it."""

from __future__ import annotations

import os
from importlib import import_module

_module, _, _name = os.environ["SHOP"].partition(":")
shop = getattr(import_module(_module), _name)


def wsgi(environ, start_response):
    def start(status, headers, *rest):
        return start_response(status, [("X-Worker", str(os.getpid())), *headers], *rest)

    return shop(environ, start)


async def asgi(scope, receive, send):
    async def send_on(message):
        if message["type"] == "http.response.start":
            mine = (b"x-worker", str(os.getpid()).encode())
            message = {**message, "headers": [mine, *message.get("headers", ())]}
        await send(message)

    await shop(scope, receive, send_on)
