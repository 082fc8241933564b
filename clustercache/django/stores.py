"""The stores of this process, made from Django's settings when they are first used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.asyncio import async_unsafe

from clustercache.django.serializer import DjangoJSON
from clustercache.sessions.aio import AsyncSessionStore
from clustercache.sessions.settings import SessionSettings
from clustercache.sessions.store import SessionStore

if TYPE_CHECKING:
    from clustercache.sessions.session import Session

_OURS = frozenset({"CLUSTERCACHE_URL", "CLUSTERCACHE_SESSIONS", "SESSION_COOKIE_AGE"})
_NOT_LOADED = (
    "The session is not loaded, and reading it here would block the event loop: use the session's"
    " methods that begin with an a, as `await request.session.aget(key)`, or sync_to_async."
)
_made: dict[str, Any] = {}
_lock = threading.RLock()


def configured() -> tuple[Any, dict[str, Any]]:
    """Return the URL and the options that the settings give.

    Raises:
        ImproperlyConfigured: There is no URL.
    """
    url = getattr(settings, "CLUSTERCACHE_URL", None)
    if not url:
        msg = 'the setting CLUSTERCACHE_URL is missing: as "redis://10.0.0.1:7000"'
        raise ImproperlyConfigured(msg)
    options = dict(getattr(settings, "CLUSTERCACHE_SESSIONS", None) or {})
    idle = options.setdefault("idle", settings.SESSION_COOKIE_AGE)
    # Django knows no absolute limit: one that is not given lets use keep a session for a while.
    options.setdefault("lifetime", max(2 * idle, SessionSettings.lifetime))
    if "serializer" not in options:
        options["serializer"] = DjangoJSON()
    # Without a name, each of the two stores would have a memory of its own.
    return "memory://django" if url == "memory://" else url, options


def store() -> SessionStore:
    """Return the blocking store.

    Raises:
        SynchronousOnlyOperation: This is an event loop.
    """
    found: SessionStore = _blocking()
    return found


@async_unsafe(_NOT_LOADED)  # type: ignore[untyped-decorator]
def _blocking() -> Any:
    return _made.get("sync") or _make("sync", SessionStore)


def astore() -> AsyncSessionStore:
    """Return the store for event loops."""
    found: AsyncSessionStore = _made.get("async") or _make("async", AsyncSessionStore)
    return found


def _make(name: str, kind: Any) -> Any:
    with _lock:
        if name not in _made:
            url, options = configured()
            _made[name] = kind.from_url(url, **options)
        return _made[name]


def _forget(*, setting: str, **_: Any) -> None:
    """Make new stores: a test changed the settings."""
    if setting in _OURS:
        with _lock:
            old = _made.pop("sync", None)
            _made.pop("async", None)
        if old is not None:
            old.close()


setting_changed.connect(_forget, dispatch_uid="clustercache.django.stores")


def new() -> Session:
    """Return an empty session that is not stored; asks nobody."""
    session: Session = _either().new()
    return session


def idle() -> float:
    """Return the idle limit of sessions that have none of their own, in seconds."""
    return float(_either().settings.idle)


def touch_after_ms() -> int:
    """Return how often use is written down, in milliseconds."""
    return int(_either().settings.touch_after * 1000)


def _either() -> Any:
    """Return a store for what needs no I/O."""
    return _made.get("sync") or _made.get("async") or _make("sync", SessionStore)
