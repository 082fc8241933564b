"""The cache of a Flask application, which functions may be decorated with before there is one."""

from __future__ import annotations

import threading
import weakref
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import flask

from clustercache.caching.adapters import cache_at
from clustercache.caching.lazily import lazily
from clustercache.caching.settings import NAMES
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from clustercache.caching.cache import Cache
    from clustercache.flask.interface import ClusterSessionInterface

CACHE: Final = "clustercache.cache"
"""Where an application's cache is among its extensions."""


class CacheOfApp:
    """One application's cache, made when it is used first.

    Attributes:
        functions: Those that were called in the application, by what stands for them.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        url: str | Iterable[str] | None,
        interface: ClusterSessionInterface | None,
    ) -> None:
        """Make nothing yet.

        Args:
            options: Those of the call; they win over ``CLUSTERCACHE_CACHE``.
            url: That of the call; it wins over ``CLUSTERCACHE_URL``.
            interface: The application's sessions, if it has any.
        """
        self.functions: dict[Any, Any] = {}
        self.lock = threading.RLock()
        self._own = options
        self._url = url
        self._interface = interface
        self._cache: Cache | None = None

    def check(self, app: flask.Flask) -> None:
        """Raise ConfigurationError if what is configured already cannot work."""
        common = self._url or app.config.get("CLUSTERCACHE_URL")
        options = self._options(app)
        if options and (common or options.get("url")):
            self.cache(app)

    def cache(self, app: flask.Flask) -> Cache:
        """Return the cache.

        Raises:
            ConfigurationError: It is not configured, or wrongly.
        """
        if self._cache is None:
            with self.lock:
                if self._cache is None:
                    self._cache = self._made(app)
                    weakref.finalize(app, self._cache.close)
        return self._cache

    def _options(self, app: flask.Flask) -> dict[str, Any]:
        return dict(app.config.get("CLUSTERCACHE_CACHE") or {}) | dict(self._own)

    def _made(self, app: flask.Flask) -> Cache:
        options = {"around": _around(app)} | self._options(app)
        common = self._url or app.config.get("CLUSTERCACHE_URL")
        url = options.pop("url", None) or common
        is_common = url == common and not options.keys() - NAMES - {"near"}
        store = self._interface.store_of(app) if self._interface else None
        at = store.client if is_common and store is not None and store.client is not None else url
        if at is None:
            raise ConfigurationError("this application has no cache: set CLUSTERCACHE_URL")
        return cache_at(at, **options)


def _around(app: flask.Flask) -> Callable[[], AbstractContextManager[object]]:
    """Return what gives each computation in the background an application context of its own."""
    found = weakref.ref(app)  # an application that is dropped closes its cache

    def around() -> AbstractContextManager[object]:
        there = found()
        return nullcontext() if there is None else there.app_context()

    return around


def current() -> tuple[flask.Flask, CacheOfApp]:
    """Return the current application, and what has its cache.

    Raises:
        RuntimeError: There is no application context.
        ConfigurationError: The application was not initialised.
    """
    app: flask.Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    held = app.extensions.get(CACHE)
    if held is None:
        raise ConfigurationError("this application has no cache: call ClusterCache.init_app")
    return app, held


class CurrentCache:
    """The current application's `Cache`, with all that it has; see `Cache`.

    Functions that it decorates have results of their own in each application.
    """

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the cache."""
        if name.startswith("__"):
            raise AttributeError(name)  # whoever inspects an object has no application
        app, held = current()
        return getattr(held.cache(app), name)

    def __repr__(self) -> str:
        """Show that it depends."""
        return "<the cache of the current Flask application>"

    def cached(self, function: Any = None, /, **options: Any) -> Any:
        """Decorate a function as `Cache.cached` does, at import time, too."""
        return lazily(function, partial(_by_app, "cached", options))

    def cached_many(self, function: Any = None, /, **options: Any) -> Any:
        """Decorate a function as `Cache.cached_many` does, at import time, too."""
        return lazily(function, partial(_by_app, "cached_many", options))


def _by_app(kind: str, options: Mapping[str, Any], function: Any) -> Callable[[], Any]:
    """Return what returns a function that is cached by the current application's cache."""

    def real() -> Any:
        app, held = current()
        made = held.functions.get(real)
        if made is None:
            cache = held.cache(app)
            with held.lock:
                made = held.functions.get(real)
                if made is None:
                    made = held.functions[real] = getattr(cache, kind)(**options)(function)
        return made

    return real
