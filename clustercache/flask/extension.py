"""The extension: from an application's configuration to its sessions and its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import flask

from clustercache.exceptions import ConfigurationError
from clustercache.flask.caches import CACHE, CacheOfApp, CurrentCache
from clustercache.flask.interface import ClusterSessionInterface
from clustercache.flask.session import FlaskSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from clustercache.caching.cache import Cache
    from clustercache.sessions.store import SessionStore

_NAME: Final = "clustercache"


class ClusterCache:
    """Keep the sessions of Flask applications in a cluster, on one server, or in this process.

    And give them a `cache` there. Opens no connection before a session or a value is needed, so an
    application may be loaded before a server forks its workers.

    Example:
        >>> app = flask.Flask("shop")
        >>> app.config["CLUSTERCACHE_URL"] = "memory://"
        >>> extension = ClusterCache(app)
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        url: str | Iterable[str] | None = None,
        store: SessionStore | None = None,
        cache: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Prepare, and initialise an application if it is given.

        Args:
            app: To be initialised; others may follow by `init_app`.
            url: As `SessionStore.from_url` takes it; else what ``CLUSTERCACHE_URL`` is set to.
            store: One that is made already, in place of a URL.
            cache: Options of `Cache`, which win over those in the dict ``CLUSTERCACHE_CACHE``;
                ``near`` may be a number of entries. With options of a client, or another ``url``,
                the cache has a client of its own; else it shares that of the sessions.
            options: Those of `SessionStore.from_url`. Each may be configured too: ``idle`` as
                ``CLUSTERCACHE_IDLE``, or several in the dict ``CLUSTERCACHE_SESSION``. Without
                ``idle`` it is ``PERMANENT_SESSION_LIFETIME``.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        if store is not None and (url or options):
            raise ConfigurationError("a store has its URL and its options already: give only it")
        self._url = url
        self._store = store
        self._options = options
        self._cache_options = dict(cache or {})
        self._cache = CurrentCache()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Keep an application's sessions, unless ``CLUSTERCACHE_SESSION`` is False, and its cache.

        Raises:
            ConfigurationError: Something in its configuration is unknown or out of range.
        """
        interface = ClusterSessionInterface(self._url, self._store, self._options)
        has_sessions = app.config.get("CLUSTERCACHE_SESSION") is not False
        held = CacheOfApp(self._cache_options, self._url, interface if has_sessions else None)
        app.extensions[CACHE] = held
        if has_sessions:
            app.extensions[_NAME] = interface
            app.session_interface = interface
            interface.store_of(app)  # tells at once of what cannot work,
        held.check(app)  # as does this

    @property
    def store(self) -> SessionStore:
        """The current application's store: for lists of a user's sessions, and to end them.

        Raises:
            ConfigurationError: The application has none.
        """
        app = flask.current_app
        interface = app.extensions.get(_NAME)
        found = interface.store_of(app) if interface else None
        if found is None:
            raise ConfigurationError("this application has no sessions: set CLUSTERCACHE_URL")
        store: SessionStore = found
        return store

    @property
    def cache(self) -> Cache:
        """The current application's cache; it can decorate functions before there is one.

        Each application has a `Cache` of its own, made when it is used first and closed at exit.
        What is computed in the background has an application context of its own.

        Raises:
            ConfigurationError: The application has none; a decorated function's first call tells.
        """
        return cast("Cache", self._cache)


def login_session(user: str, *, device: str = "", address: str = "") -> None:
    """Make the current session a user's at the end of the request, with a new token.

    Args:
        user: The user's id, as a text.
        device: What `sessions_of` shows of where it is used; the browser's name by default.
        address: The same, as an IP address; by default that of the request.
    """
    _current().login(user, device=device, address=address)


def logout_session() -> None:
    """End the current session. What is set afterwards begins a new one."""
    _current().flush()


def _current() -> FlaskSession:
    session = flask.session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    if not isinstance(session, FlaskSession):
        raise ConfigurationError("this application's sessions are not kept here: see ClusterCache")
    return session
