"""A web shop on a `SessionStore`, without a framework. Each web server of the demo is one.

python -m clustercache.cli.demo.shop URL HOST PORT
"""

from __future__ import annotations

import json
import os
import sys
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import parse_qs

from clustercache import SessionStore
from clustercache._core.address import Address
from clustercache.cli.demo.shop_server import ShopServer
from clustercache.exceptions import SessionUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    from clustercache import Session

    View = Callable[[Session, dict[str, str]], "Page"]

_COOKIE = "shop"
_GONE = "; Max-Age=0"


class Page(NamedTuple):
    """What a view makes."""

    status: HTTPStatus
    content: Any = None
    location: str = ""


def _login(session: Session, form: dict[str, str]) -> Page:
    session.login(form["user"])
    session["cart"] = []
    return Page(HTTPStatus.SEE_OTHER, location="/me")


def _logout(session: Session, _: dict[str, str]) -> Page:
    session.logout()
    return Page(HTTPStatus.SEE_OTHER, location="/")


def _me(session: Session, _: dict[str, str]) -> Page:
    if session.user is None:
        return Page(HTTPStatus.UNAUTHORIZED)
    return Page(HTTPStatus.OK, {"user": session.user, "cart": session["cart"]})


def _add(session: Session, form: dict[str, str]) -> Page:
    if session.user is None:
        return Page(HTTPStatus.UNAUTHORIZED)
    session.append("cart", form["item"])
    return Page(HTTPStatus.SEE_OTHER, location="/me")


class Shop:
    """The WSGI application; see `shopper` for its pages.

    Args:
        store: Where the sessions are.
        worker: What this process calls itself.
    """

    views: ClassVar[Mapping[str, View]] = {
        "POST /login": _login,
        "POST /logout": _logout,
        "GET /me": _me,
        "POST /cart": _add,
    }

    def __init__(self, store: SessionStore, worker: str) -> None:
        self._store = store
        self._worker = worker

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; a store that cannot be asked is 503, and no cookie is touched."""
        headers = [("X-Worker", self._worker)]
        try:
            page = self._answer(environ, headers)
        except SessionUnavailableError as error:
            page = Page(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            headers.append(("Retry-After", str(ceil(error.retry_after))))
        body = json.dumps(page.content).encode()
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        if page.location:
            headers.append(("Location", page.location))
        start_response(f"{page.status.value} {page.status.phrase}", headers)
        return [body]

    def _answer(self, environ: WSGIEnvironment, headers: list[tuple[str, str]]) -> Page:
        if environ["PATH_INFO"] == "/":
            return Page(HTTPStatus.OK, "welcome")
        view = self.views.get(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if view is None:
            return Page(HTTPStatus.NOT_FOUND)
        token = _token(environ.get("HTTP_COOKIE", ""))
        session = self._store.load(token) if token else None
        if session is None:
            session = self._store.new()
        page = view(session, _form(environ))
        saved = self._store.save(session)
        if saved.set_token or saved.ended:
            value = f"{saved.set_token or ''}; Path=/; HttpOnly; SameSite=Lax"
            headers.append(("Set-Cookie", f"{_COOKIE}={value}{_GONE * saved.ended}"))
        return page


def _token(cookies: str) -> str:
    pairs = (pair.strip().partition("=") for pair in cookies.split(";"))
    return next((value for name, _, value in pairs if name == _COOKIE), "")


def _form(environ: WSGIEnvironment) -> dict[str, str]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def main() -> None:
    """Serve until the process is ended."""
    url, host, port = sys.argv[1:]
    with SessionStore.from_url(url) as store:
        ShopServer(Address(host, int(port)), Shop(store, str(os.getpid()))).serve_forever()


if __name__ == "__main__":
    main()
