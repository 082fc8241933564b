"""What Flask asks for a session, and hands it to at the end of a request."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from flask.sessions import NullSession, SessionInterface
from markupsafe import Markup

from clustercache._values.serializers import TaggedJSON
from clustercache.exceptions import OutcomeUnknownError, SessionGoneError, SessionUnavailableError
from clustercache.flask.answers import answer_instead
from clustercache.flask.session import FlaskSession
from clustercache.sessions.record import Standing
from clustercache.sessions.settings import SessionSettings
from clustercache.sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Flask
    from flask.sessions import SessionMixin
    from flask.wrappers import Request, Response

_CONFIG: Final = "CLUSTERCACHE_"
_NOT_OPTIONS: Final = frozenset({"url", "session", "cookie_prefix", "cache"})
_REFUSED: Final = (SessionGoneError, SessionUnavailableError, OutcomeUnknownError)


class NoSession(NullSession):
    """A session of an application that has no store: can be read, and is empty."""

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the session cannot be changed, for no store is set: CLUSTERCACHE_URL")

    __setitem__ = __delitem__ = clear = pop = popitem = update = setdefault = _fail
    del _fail


class ClusterSessionInterface(SessionInterface):
    """The sessions of one application."""

    null_session_class = NoSession

    def __init__(
        self,
        url: str | Iterable[str] | None,
        store: SessionStore | None,
        options: Mapping[str, Any],
    ) -> None:
        """Ask nothing yet; see `ClusterCache` for the arguments."""
        self._url = url
        self._store = store
        self._options = options
        self._lock = threading.Lock()

    def store_of(self, app: Flask) -> SessionStore | None:
        """Return the application's store; None where no URL is set.

        Raises:
            ConfigurationError: Something in the configuration is unknown or out of range.
        """
        url = self._url or app.config.get(f"{_CONFIG}URL")
        if self._store is None and url:
            with self._lock:
                self._make(url, app)
        return self._store

    def _make(self, url: str | Iterable[str], app: Flask) -> None:
        if self._store is None:
            self._store = SessionStore.from_url(url, **self._configured(app))

    def _configured(self, app: Flask) -> dict[str, Any]:
        config = app.config.get_namespace(_CONFIG)
        options: dict[str, Any] = {k: v for k, v in config.items() if k not in _NOT_OPTIONS}
        options |= config.get("session") or {}
        options |= self._options
        seconds = {k: v.total_seconds() for k, v in options.items() if isinstance(v, timedelta)}
        options |= seconds
        options.setdefault("idle", app.permanent_session_lifetime.total_seconds())
        options.setdefault("lifetime", max(SessionSettings.lifetime, options["idle"]))
        if options.get("serializer") is None:
            options["serializer"] = _serializer()
        return options

    # Cookies ----------------------------------------------------------------------------------

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name: ``SESSION_COOKIE_NAME``.

        With ``CLUSTERCACHE_COOKIE_PREFIX`` that is kept to its very host (``__Host-``) where it has
        the path / and no domain, or to TLS (``__Secure-``), if ``SESSION_COOKIE_SECURE`` is set.
        """
        name = super().get_cookie_name(app)
        if app.config.get(f"{_CONFIG}COOKIE_PREFIX") and self.get_cookie_secure(app):
            of_host = self.get_cookie_path(app) == "/" and not self.get_cookie_domain(app)
            return f"{'__Host-' if of_host else '__Secure-'}{name}"
        return name

    def _attributes(self, app: Flask) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
        }
        if partitioned := app.config.get("SESSION_COOKIE_PARTITIONED"):
            attributes["partitioned"] = partitioned  # Werkzeug knows it from 3.1 on
        return attributes

    def _set(self, app: Flask, session: FlaskSession, token: str, response: Response) -> None:
        response.set_cookie(
            self.get_cookie_name(app),
            token,
            expires=self.get_expiration_time(app, session),
            **self._attributes(app),
        )
        response.headers["Cache-Control"] = "no-store"

    # Requests ---------------------------------------------------------------------------------

    def open_session(self, app: Flask, request: Request) -> FlaskSession | None:
        """Return the request's session, which asks nobody before it is looked at."""
        store = self._store or self.store_of(app)
        if store is None:
            return None
        return FlaskSession(store, request, self.get_cookie_name(app))

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save what was looked at; never raise: what fails is answered in the response's place."""
        assert isinstance(session, FlaskSession)  # noqa: S101 - as `open_session` makes them
        try:
            if session.is_open:
                self._save(app, session, response)
            if session.accessed:
                _vary(response)
        except Exception as error:  # noqa: BLE001 - Flask would lose it
            answer_instead(app, error, response)

    def _save(self, app: Flask, session: FlaskSession, response: Response) -> None:
        session.settle()
        facts, nonce = session.facts, session.nonce
        lasts = session.lasts_otherwise
        assert self._store is not None  # noqa: S101 - it has opened the session
        try:
            saved = self._store.save(session)
        except _REFUSED:
            if session.modified:
                raise
            return  # nothing is lost by a touch or a renewal that could not be had
        if saved.set_token is not None:
            self._set(app, session, saved.set_token, response)
        elif saved.ended or (session.flushed and session.is_new and session.sent):
            response.delete_cookie(self.get_cookie_name(app), **self._attributes(app))
            response.headers["Cache-Control"] = "no-store"
        elif lasts and session.standing is Standing.CURRENT and session.token is not None:
            self._set(app, session, session.token, response)
        elif session.facts is not facts and session.permanent:
            self._refresh(app, session, response, touched=session.nonce is nonce)

    def _refresh(
        self, app: Flask, session: FlaskSession, response: Response, *, touched: bool
    ) -> None:
        """Let the browser keep the cookie for longer, if its token is still the newest."""
        if session.standing is not Standing.CURRENT or session.token is None:
            return
        assert self._store is not None  # noqa: S101 - as above
        renewed = self._store.settings.renew_after
        # A renewal does the same, and does not compete with that of another request.
        by_renewal = renewed and renewed * 2 <= app.permanent_session_lifetime.total_seconds()
        if app.config["SESSION_REFRESH_EACH_REQUEST"] and (touched or not by_renewal):
            self._set(app, session, session.token, response)


def _vary(response: Response) -> None:
    if "Vary" in response.headers:
        response.vary.add("Cookie")
    else:
        response.headers["Vary"] = "Cookie"


def _serializer() -> TaggedJSON:
    """Return one that keeps Markup what it is, as Flask's own does: it may be in a flash."""
    serializer = TaggedJSON()
    serializer.register("markup", Markup, str.__str__, Markup)
    return serializer
