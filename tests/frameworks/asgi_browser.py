"""A browser for ASGI applications in this process, and the plainest application there is."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    def one(self, name):
        found = self.all(name)
        assert len(found) <= 1, found
        return found[0] if found else None

    @property
    def json(self):
        return json.loads(self.body)


class Browser:
    """Keeps cookies. Serves one application without a server."""

    def __init__(self, app, scheme="http", cookies=None):
        self.app, self.scheme, self.cookies = app, scheme, dict(cookies or {})

    def scope(self, kind, path, headers=()):
        sent = [(name.encode(), value.encode()) for name, value in headers]
        if self.cookies:
            line = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent.append((b"cookie", line.encode()))
        scheme = {"http": "ws", "https": "wss"}[self.scheme] if kind == "websocket" else self.scheme
        return {
            "type": kind,
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"testserver"), *sent],
            "client": ("127.0.0.1", 1),
            "server": ("testserver", 80),
            "subprotocols": [],
            "extensions": {},
            "state": {},
        }

    def take(self, lines):
        for line in lines:
            pair, *attributes = line.split("; ")
            name, value = pair.split("=", 1)
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    async def request(self, path, method="GET", data=None, headers=()):
        scope = self.scope("http", path, headers) | {"method": method}
        body = b"" if data is None else json.dumps(data).encode()
        if body:
            scope["headers"].append((b"content-type", b"application/json"))
        asked = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive():
            if not asked:
                await asyncio.Event().wait()
            return asked.pop()

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        assert start["type"] == "http.response.start", sent
        assert {one["type"] for one in rest} == {"http.response.body"}, sent
        headers = [(name.decode().lower(), value.decode()) for name, value in start["headers"]]
        answer = Answer(start["status"], headers, b"".join(one.get("body", b"") for one in rest))
        self.take(answer.all("set-cookie"))
        return answer

    def get(self, path="/", **options):
        return self.request(path, **options)

    def post(self, path="/", data=None, **options):
        return self.request(path, "POST", data, **options)

    def websocket(self, path="/", extensions=()):
        return Websocket(self, path, extensions)


class Websocket:
    """One connection: `async with`, and texts both ways."""

    def __init__(self, browser, path, extensions):
        self.browser = browser
        self.scope = browser.scope("websocket", path) | {"extensions": dict.fromkeys(extensions)}
        self.inbox, self.outbox = asyncio.Queue(), asyncio.Queue()

    async def __aenter__(self):
        self.task = asyncio.create_task(
            self.browser.app(self.scope, self.inbox.get, self.outbox.put)
        )
        await self.inbox.put({"type": "websocket.connect"})
        self.first = await self.next()
        lines = [v.decode() for n, v in self.first.get("headers", ()) if n == b"set-cookie"]
        self.cookie_lines = lines
        self.browser.take(lines)
        return self

    async def __aexit__(self, *error):
        await self.inbox.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 10)

    async def next(self):
        return await asyncio.wait_for(self.outbox.get(), 10)

    async def say(self, text):
        await self.inbox.put({"type": "websocket.receive", "text": text})
        return await self.next()


def page(view, headers=()):
    """Return an application that answers what `view(session, scope)` returns, as JSON."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        body = json.dumps(await view(scope["session"], scope)).encode()
        sent = [(b"content-type", b"application/json"), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": body})

    return app


def paths(**views):
    """Return a view for each first part of a path."""

    async def view(session, scope):
        return await views[scope["path"].strip("/").split("/")[0] or "home"](session, scope)

    return view
