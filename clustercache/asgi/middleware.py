"""`SessionMiddleware`: gives requests and websockets their sessions, and saves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final, Literal

from clustercache.asgi.answers import (
    ANSWERED,
    answer,
    answer_websocket,
    answered_by_application,
    status_of,
)
from clustercache.asgi.session import ClosedSession, RequestSession
from clustercache.exceptions import ConfigurationError
from clustercache.sessions.aio import AsyncSessionStore
from clustercache.sessions.cookies import CookieSettings, SameSite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache.asgi.answers import App, Message, Receive, Scope, Send
    from clustercache.sessions.plans import Saved

_STARTS: Final = ("http.response.start", "websocket.accept")


class SessionMiddleware:
    """ASGI middleware that keeps sessions in a cluster.

    Attributes:
        store: The `AsyncSessionStore`; for what is about all sessions of a user.
        cookie: The `CookieSettings`.
    """

    def __init__(
        self,
        app: App,
        *,
        url: str | Iterable[str] | None = None,
        store: AsyncSessionStore | None = None,
        cookie: str = "session",
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        http_only: bool = True,
        same_site: SameSite | None = "lax",
        partitioned: bool = False,
        max_age: float | None = None,
        load: Literal["eager", "lazy"] = "eager",
        include: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        **options: Any,
    ) -> None:
        """Wrap an application. Nothing is opened before the first session is.

        Args:
            app: Any ASGI application.
            url: Of the cluster, as `AsyncSessionStore.from_url` takes it. That store is closed
                when the application shuts down.
            store: One that you close, in place of a URL.
            cookie: The cookie's name.
            path: As the six after it, see `CookieSettings`.
            domain: The same.
            secure: The same; None: where the request came by https or wss.
            http_only: The same.
            same_site: The same.
            partitioned: The same.
            max_age: The same, in seconds.
            load: "eager" loads a session before the application where there is a cookie; with
                "lazy" it does so itself: ``await request.session.load()``.
            include: Patterns of the paths where "eager" holds, as in ``/shop/*``; None for all.
            exclude: Patterns of those among them where it does not.
            options: Those of `SessionSettings` and of the client.

        Raises:
            ConfigurationError: Something in it is unknown, out of range, or missing.
        """
        if load not in {"eager", "lazy"}:
            msg = f"load must be eager or lazy, got {load!r}"
            raise ConfigurationError(msg)
        self.app = app
        self._owns_store = store is None
        self.store = _store(url, store, options)
        self.cookie = CookieSettings(
            name=cookie,
            path=path,
            domain=domain,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
            partitioned=partitioned,
            max_age=max_age,
        )
        self._eager = load == "eager"
        self._include = None if include is None else _paths(include)
        self._exclude = _paths(exclude)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        kind = scope["type"]
        if kind in {"http", "websocket"}:
            session = ClosedSession(self.store, self.cookie.read(scope["headers"]))
            if self._is_eager(scope["path"]):
                await session.fetch()
            else:
                session.leave_unloaded()
            scope["session"] = session
            await _Exchange(self, scope, receive, send).serve(self.app)
        elif kind == "lifespan" and self._owns_store:
            await self.app(scope, receive, self._closing(send))
        else:
            await self.app(scope, receive, send)

    def _is_eager(self, path: str) -> bool:
        if not self._eager or (self._include is not None and not self._include(path)):
            return False
        return not self._exclude(path)

    def _closing(self, send: Send) -> Send:
        """Close the store when the application has shut down, and before the server hears it."""

        async def forward(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                await self.store.aclose()
            await send(message)

        return forward


class _Exchange:
    """One request, or one websocket: its session goes out with what begins the response."""

    __slots__ = ("_own", "_receive", "_replaced", "_scope", "_send", "_session", "_started")

    def __init__(self, own: SessionMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        self._own, self._scope, self._receive, self._send = own, scope, receive, send
        self._session: RequestSession = scope["session"]
        self._started = self._replaced = False

    async def serve(self, app: App) -> None:
        try:
            await app(self._scope, self._receive, self.send)
        except ANSWERED as error:
            http = self._scope["type"] == "http"
            if status_of(error) is None or (http and self._started):
                raise
            if http:
                self._started = True
                await answer(error, self._send)
            else:
                await answer_websocket(error, self._scope, self._send, accepted=self._started)

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if not self._started and message["type"] in _STARTS:
            raised = self._session.raised
            if message.get("status") == 500 and raised is not None and status_of(raised):
                # Litestar answers so what nobody handled, and lets nothing through to here.
                self._started = self._replaced = True
                await answer(raised, self._send)
                return
            try:
                message = await self._saved(message)
            except ANSWERED as error:
                if self._scope["type"] != "http" or status_of(error) is None:
                    raise
                await self._answer_in_place(error)
                return
            self._started = True
        await self._send(message)

    async def _answer_in_place(self, error: Exception) -> None:
        """Answer for the application, and send nothing of what it sends from now on."""
        self._started = self._replaced = True
        if not await answered_by_application(error, self._scope, self._receive, self._send):
            await answer(error, self._send)

    async def _saved(self, message: Message) -> Message:
        """Save the session; return the message with the headers that this asks for."""
        if self._scope["session"] is not self._session:
            _take_over(self._session, self._scope)
        told = await self._session.save_at_start()
        looked_at = type(self._session) is not ClosedSession
        if looked_at or told.set_token or told.ended:
            message = dict(message)
            message["headers"] = self._headers(message, told)
        return message

    def _headers(self, message: Message, told: Saved) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = [(n, v) for n, v in message.get("headers") or ()]
        http = self._scope["type"] == "http"
        if http and not _has_vary(headers):
            headers.append((b"vary", b"Cookie"))
        cookie, tls = self._own.cookie, self._scope.get("scheme") in {"https", "wss"}
        if told.set_token:
            line = cookie.set_to(told.set_token, tls=tls)
        elif told.ended:
            line = cookie.deleted(tls=tls)
        else:
            return headers
        if http:
            headers = [one for one in headers if one[0].lower() != b"cache-control"]
            headers.append((b"cache-control", b"no-store"))
        return [*headers, (b"set-cookie", line.encode("latin-1"))]


def _has_vary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    named = b",".join(value for name, value in headers if name.lower() == b"vary")
    return any(one.strip().lower() in {b"cookie", b"*"} for one in named.split(b","))


def _take_over(session: RequestSession, scope: Scope) -> None:
    """Do what was meant by another object in the session's place, as Litestar's methods put it."""
    put = scope["session"]
    if put is None or isinstance(put, Enum):
        session.flush()
    elif isinstance(put, Mapping):
        session.replace(put)
    else:
        msg = f"a session holds what a mapping does, got a {type(put).__name__}"
        raise TypeError(msg)
    scope["session"] = session


def _store(
    url: str | Iterable[str] | None, store: Any, options: Mapping[str, Any]
) -> AsyncSessionStore:
    if store is None and url is not None:
        return AsyncSessionStore.from_url(url, **options)
    if store is None or url is not None or options:
        msg = "SessionMiddleware takes a url, with options for it, or else a store"
        raise ConfigurationError(msg)
    if not isinstance(store, AsyncSessionStore):
        msg = f"store must be an AsyncSessionStore, got a {type(store).__name__}"
        raise ConfigurationError(msg)
    return store


def _paths(patterns: Iterable[str]) -> Callable[[str], object]:
    """Return what tells whether a path is among some."""
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    return re.compile("|".join(map(translate, given)) or r"(?!)").match
