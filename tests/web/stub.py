"""A shop that keeps its sessions in a dictionary, and can do all that a shop must not."""

from __future__ import annotations

import contextlib
import json
import threading
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from clustercache._core.address import Address
from clustercache.cli.demo.shop_server import ShopServer

GONE = "Thu, 01 Jan 1970 00:00:00 GMT"


class StubShop:
    """A WSGI application.

    Attributes:
        faults: What it does wrong to a user: "forget", "confuse", "delete", "change", "fail read",
            "fail write", "lose" (what it took), "twice", "hang up".
    """

    def __init__(self):
        self.faults = {}
        self.carts = {}

    def __call__(self, environ, start_response):
        status, headers, body = self._page(environ)
        start_response(status, [*headers, ("X-Worker", "1"), ("Content-Length", str(len(body)))])
        return [body]

    def _page(self, environ):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        form = parse_qs(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        if path == "/":
            return "200 OK", [], b"welcome"
        if path == "/login":
            user = form[b"user"][0].decode()
            self.carts[user] = []
            return "303 See Other", [("Set-Cookie", f"shop={user}; Path=/; HttpOnly")], b""
        cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("shop")
        user = cookie.value.removesuffix("'") if cookie else ""
        fault = self.faults.get(user, "")
        if not user or fault == "forget":
            return "401 Unauthorized", [], b""
        return self._serve(user, fault, form[b"item"][0].decode() if method == "POST" else "")

    def _serve(self, user, fault, item):
        if fault == f"fail {'write' if item else 'read'}":
            return "503 Service Unavailable", [("Retry-After", "1")], b"later"
        if fault == "hang up":
            raise SystemExit
        headers = []
        if fault == "delete":
            headers.append(("Set-Cookie", f"shop=; Path=/; Expires={GONE}"))
        if fault == "change":
            headers.append(("Set-Cookie", f"shop={user}'; Path=/"))
        if item:
            self.carts[user] += [item] * {"lose": 0, "twice": 2}.get(fault, 1)
            return "303 See Other", headers, b""
        shown = "somebody" if fault == "confuse" else user
        return "200 OK", headers, json.dumps({"user": shown, "cart": self.carts[user]}).encode()


@contextlib.contextmanager
def serving(application):
    """Serve an application in this process, and tell where."""
    server = ShopServer(Address("127.0.0.1", 0), application)
    server.handle_error = lambda *_: None
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Address(*server.server_address)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
