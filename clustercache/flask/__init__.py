"""Flask: sessions kept in a cluster, for `flask.session` and whoever uses it, and a cache.

    app.config["CLUSTERCACHE_URL"] = "redis://10.0.0.1:6379?addr=10.0.0.2:6379"
    extension = ClusterCache(app)
    @extension.cache.cached(ttl=60)

See docs/flask.md.
"""

from __future__ import annotations

from clustercache.flask.extension import ClusterCache, login_session, logout_session
from clustercache.flask.interface import ClusterSessionInterface
from clustercache.flask.session import FlaskSession

__all__ = [
    "ClusterCache",
    "ClusterSessionInterface",
    "FlaskSession",
    "login_session",
    "logout_session",
]
