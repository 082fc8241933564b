"""Sessions in a cluster, on one server, or in process: no user notices a failover.

`SessionStore` and `AsyncSessionStore` keep them; `flask`, `django` and `asgi` bring them to the
frameworks. See docs/sessions.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clustercache._values.serializers import Msgspec, TaggedJSON
    from clustercache.sessions.aio import AsyncSessionStore
    from clustercache.sessions.index import SessionInfo
    from clustercache.sessions.keyring import KeyRing
    from clustercache.sessions.migration import DjangoSessionReader, FlaskSessionReader
    from clustercache.sessions.plans import Saved
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
    "AsyncSessionStore": "sessions.aio",
    "DjangoSessionReader": "sessions.migration",
    "FlaskSessionReader": "sessions.migration",
    "KeyRing": "sessions.keyring",
    "Msgspec": "_values.serializers",
    "Saved": "sessions.plans",
    "Session": "sessions.session",
    "SessionInfo": "sessions.index",
    "SessionSettings": "sessions.settings",
    "SessionStore": "sessions.store",
    "TaggedJSON": "_values.serializers",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"clustercache.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
