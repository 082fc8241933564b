"""clustercache: sessions and cache on a Redis or Valkey Cluster.

Importing the package is cheap: redis-py's command modules are imported with the first client class
that is asked for.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustercache import exceptions
    from clustercache._async.cluster import AsyncCluster
    from clustercache._core.read_from import ReadFrom
    from clustercache._sync.cluster import Cluster
    from clustercache.caching.aio import AsyncCache
    from clustercache.caching.cache import Cache
    from clustercache.caching.default import cached, configure
    from clustercache.caching.near import MISSING, NearCache
    from clustercache.config import ClusterConfig, RetryPolicy
    from clustercache.sessions.aio import AsyncSessionStore
    from clustercache.sessions.session import Session
    from clustercache.sessions.store import SessionStore

__version__ = "0.1.0"
__all__ = [
    "MISSING",
    "AsyncCache",
    "AsyncCluster",
    "AsyncSessionStore",
    "Cache",
    "Cluster",
    "ClusterConfig",
    "NearCache",
    "ReadFrom",
    "RetryPolicy",
    "Session",
    "SessionStore",
    "cached",
    "configure",
    "exceptions",
]

_HOMES = {
    "MISSING": "clustercache.caching.near",
    "AsyncCache": "clustercache.caching.aio",
    "AsyncCluster": "clustercache._async.cluster",
    "AsyncSessionStore": "clustercache.sessions.aio",
    "Cache": "clustercache.caching.cache",
    "Cluster": "clustercache._sync.cluster",
    "ClusterConfig": "clustercache.config",
    "NearCache": "clustercache.caching.near",
    "ReadFrom": "clustercache._core.read_from",
    "RetryPolicy": "clustercache.config",
    "Session": "clustercache.sessions.session",
    "SessionStore": "clustercache.sessions.store",
    "cached": "clustercache.caching.default",
    "configure": "clustercache.caching.default",
}


logging.getLogger("clustercache").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "exceptions":
        return import_module("clustercache.exceptions")
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, also those not imported yet."""
    return sorted(__all__)
