"""A user's sessions: listed, ended one by one or all at once, and ended where a password changes.

Each function has an asynchronous twin, whose name begins with an a.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_save
from redis.exceptions import RedisError

from clustercache.django import stores

if TYPE_CHECKING:
    from clustercache.django.sessions import SessionStore
    from clustercache.sessions.index import SessionInfo
    from clustercache.sessions.session import Session

current: ContextVar[SessionStore | None] = ContextVar("clustercache.django.current", default=None)
"""The session of the request that is being answered."""

_log = logging.getLogger("clustercache.django")


def get_user_sessions(user: Any, request: Any = None) -> list[SessionInfo]:
    """Return a user's sessions, the newest first.

    Args:
        user: A user of Django's, or a primary key.
        request: Whose session is marked as the current one.

    Raises:
        redis.RedisError: A shard could not be asked.
    """
    return stores.store().sessions_of(_text(user), current=_inner(request))


async def aget_user_sessions(user: Any, request: Any = None) -> list[SessionInfo]:
    """Return a user's sessions; see `get_user_sessions`."""
    return await stores.astore().sessions_of(_text(user), current=await _ainner(request))


def end_user_session(user: Any, public_id: str) -> bool:
    """End one of a user's sessions; tell whether there was one.

    Args:
        user: A user of Django's, or a primary key.
        public_id: As `get_user_sessions` told.
    """
    return stores.store().revoke(_text(user), public_id)


async def aend_user_session(user: Any, public_id: str) -> bool:
    """End one of a user's sessions; see `end_user_session`."""
    return await stores.astore().revoke(_text(user), public_id)


def logout_everywhere(user: Any, request: Any = None) -> int:
    """End all sessions of a user, those of logins under way included; return how many.

    Args:
        user: A user of Django's, or a primary key.
        request: Whose session stays.

    Raises:
        PartialError: Some could not be reached; it names them. Ask again.
    """
    return stores.store().revoke_all(_text(user), keep=_inner(request))


async def alogout_everywhere(user: Any, request: Any = None) -> int:
    """End all sessions of a user; see `logout_everywhere`."""
    return await stores.astore().revoke_all(_text(user), keep=await _ainner(request))


def _text(user: Any) -> str:
    meta = getattr(user, "_meta", None)
    return str(user if meta is None else meta.pk.value_to_string(user))


def _inner(request: Any) -> Session | None:
    return None if request is None else request.session.inner


async def _ainner(request: Any) -> Session | None:
    if request is None:
        return None
    found: Session = await request.session._aget_session()  # noqa: SLF001 - Django's own name
    return found


# Passwords ------------------------------------------------------------------------------------


def connect() -> None:
    """Have all other sessions of a user end when the password changes, if there are users."""
    label, _, _ = settings.AUTH_USER_MODEL.partition(".")
    if label not in apps.app_configs:
        return  # Django's checks refuse a signal of a model that will not come
    post_save.connect(
        _saved, sender=settings.AUTH_USER_MODEL, dispatch_uid="clustercache.django.password"
    )


def _saved(*, instance: Any, created: bool, using: str | None = None, **_: Any) -> None:
    # Django keeps the plain password until the user is saved; where a hash is only renewed with
    # stronger parameters, it does not.
    if created or getattr(instance, "_password", None) is None:
        return
    transaction.on_commit(partial(_end_others, _text(instance)), using=using)


def _end_others(user: str) -> None:
    session = current.get()
    inner = None if session is None else session._session_cache_or_none()  # noqa: SLF001 - ours
    keep = inner if inner is not None and inner.user == user else None
    try:
        stores.store().revoke_all(user, keep=keep)
    except RedisError:
        # The password is changed, and Django refuses those sessions by their hash.
        _log.exception("sessions of user %s outlive a change of the password", user)
