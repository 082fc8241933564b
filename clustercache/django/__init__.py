"""Sessions and cache for Django: engine, middleware, authentication backend, and system checks.

    INSTALLED_APPS = [..., "clustercache.django"]
    CACHES = {"default": {"BACKEND": "clustercache.django.ClusterCache", "LOCATION": url}}
    SESSION_ENGINE = "clustercache.django.sessions"
    MIDDLEWARE = [..., "clustercache.django.SessionMiddleware", ...]     # instead of Django's
    CLUSTERCACHE_URL = "redis://10.0.0.1:7000?addr=10.0.0.2:7000"
    CLUSTERCACHE_SESSIONS = {"lifetime": 86400, "limit": 5}              # optional

See docs/django.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustercache.django.backends import SessionBackend
    from clustercache.django.cache import ClusterCache
    from clustercache.django.decorating import cached, cached_many
    from clustercache.django.middleware import SessionMiddleware
    from clustercache.django.users import (
        aend_user_session,
        aget_user_sessions,
        alogout_everywhere,
        end_user_session,
        get_user_sessions,
        logout_everywhere,
    )

__all__ = [
    "ClusterCache",
    "SessionBackend",
    "SessionMiddleware",
    "aend_user_session",
    "aget_user_sessions",
    "alogout_everywhere",
    "cached",
    "cached_many",
    "end_user_session",
    "get_user_sessions",
    "logout_everywhere",
]

_HOMES = {
    "ClusterCache": "cache",
    "SessionBackend": "backends",
    "SessionMiddleware": "middleware",
    "cached": "decorating",
    "cached_many": "decorating",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: Django's settings are read by then."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'users')}"), name)
    globals()[name] = value
    return value
