"""Sessions in a cluster, on one server, or in process: no user notices a failover.

`SessionStore` and `AsyncSessionStore` keep them; `flask`, `django` and `asgi` bring them to the
frameworks. See docs/sessions.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustercache.sessions.aio import AsyncSessionStore
    from clustercache.sessions.index import SessionInfo
    from clustercache.sessions.keyring import KeyRing
    from clustercache.sessions.migration import DjangoSessionReader, FlaskSessionReader
    from clustercache.sessions.plans import Saved
    from clustercache.sessions.serializers import Msgspec, TaggedJSON
    from clustercache.sessions.session import Session
    from clustercache.sessions.settings import SessionSettings
    from clustercache.sessions.store import SessionStore

__all__ = [
    "AsyncSessionStore",
    "DjangoSessionReader",
    "FlaskSessionReader",
    "KeyRing",
    "Msgspec",
    "Saved",
    "Session",
    "SessionInfo",
    "SessionSettings",
    "SessionStore",
    "TaggedJSON",
]

_HOMES = {
    "AsyncSessionStore": "aio",
    "DjangoSessionReader": "migration",
    "FlaskSessionReader": "migration",
    "KeyRing": "keyring",
    "Msgspec": "serializers",
    "Saved": "plans",
    "Session": "session",
    "SessionInfo": "index",
    "SessionSettings": "settings",
    "SessionStore": "store",
    "TaggedJSON": "serializers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
