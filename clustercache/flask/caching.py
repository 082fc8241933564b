"""A backend for Flask-Caching.

    app.config["CACHE_TYPE"] = "clustercache.flask.caching.ClusterCacheBackend"

See docs/adapters.md.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from flask_caching.backends.base import BaseCache

from clustercache.cachelib import ClusterCache

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["ClusterCacheBackend"]


class ClusterCacheBackend(ClusterCache, BaseCache):
    """Keep what Flask-Caching caches in a cluster.

    The URL is ``CACHE_REDIS_URL`` or, without it, ``CLUSTERCACHE_URL``. ``CACHE_KEY_PREFIX`` is the
    namespace. Values are signed with the application's secret key. ``CACHE_OPTIONS`` takes what
    `clustercache.cachelib.ClusterCache` does, in place of these, too.
    """

    @classmethod
    def factory(
        cls, app: Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> ClusterCacheBackend:
        """Return what keeps an application's values.

        Raises:
            ConfigurationError: Something in its configuration is missing, unknown or out of range.
        """
        options: dict[str, Any] = {
            "namespace": config.get("CACHE_KEY_PREFIX") or "cache",
            "signing_key": app.secret_key,
            "signing_key_fallbacks": app.config.get("SECRET_KEY_FALLBACKS") or (),
        } | kwargs
        if not args:
            own = config.get("CACHE_REDIS_URL") or app.config.get("CLUSTERCACHE_URL")
            options.setdefault("url", own)
        made = cls(*args, **options)
        weakref.finalize(app, made.close)
        return made
