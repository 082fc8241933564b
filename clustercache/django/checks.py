"""System checks: what of the settings cannot work, or not as was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from clustercache.django import stores
from clustercache.django.cache_checks import check_caches
from clustercache.sessions.store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Iterable

ENGINE = "clustercache.django.sessions"
_OURS = "clustercache.django.SessionMiddleware"
_DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
_JSON = "django.contrib.sessions.serializers.JSONSerializer"


def register() -> None:
    """Have Django run the checks."""
    checks.register(check_sessions, checks.Tags.security)
    checks.register(check_caches, checks.Tags.caches)


def check_sessions(app_configs: Any = None, **_: Any) -> list[Any]:  # noqa: ARG001 - Django's
    """Return what is wrong with the settings of sessions."""
    if settings.SESSION_ENGINE != ENGINE:
        return list(_of_another_engine())
    return [*_of_the_store(), *_of_the_middleware(), *_of_the_serializer(), *_of_the_cookie()]


def _of_another_engine() -> Iterable[Any]:
    if _middlewares()[0]:
        yield checks.Warning(
            f"{_OURS} is used, but SESSION_ENGINE is {settings.SESSION_ENGINE!r}.",
            hint=f'Set SESSION_ENGINE = "{ENGINE}".',
            id="clustercache.W001",
        )


def _of_the_store() -> Iterable[Any]:
    try:
        url, options = stores.configured()
        made = SessionStore.from_url(url, **options)
    except ImproperlyConfigured as error:
        yield checks.Error(str(error), id="clustercache.E002")
        return
    except (ValueError, TypeError) as error:
        hint = "Look at CLUSTERCACHE_URL, CLUSTERCACHE_SESSIONS and SESSION_COOKIE_AGE."
        yield checks.Error(f"Sessions cannot be stored: {error}", hint=hint, id="clustercache.E003")
        return
    made.close()
    if made.settings.lifetime < settings.SESSION_COOKIE_AGE:
        yield checks.Warning(
            f"Sessions end after {made.settings.lifetime:g} seconds, before SESSION_COOKIE_AGE.",
            hint='Raise CLUSTERCACHE_SESSIONS["lifetime"], or lower SESSION_COOKIE_AGE.',
            id="clustercache.W004",
        )
    if isinstance(url, str) and url.startswith(("memory:", "null:")) and not settings.DEBUG:
        yield checks.Warning(
            f"CLUSTERCACHE_URL is {url!r}: each process has sessions of its own.",
            hint="Name a server; this is for development and tests.",
            id="clustercache.W005",
        )


def _of_the_middleware() -> Iterable[Any]:
    ours, djangos = _middlewares()
    if ours and djangos:
        yield checks.Error(
            f"MIDDLEWARE has {_OURS} and {_DJANGOS}: each would save, and set cookies.",
            hint=f"Remove {_DJANGOS}.",
            id="clustercache.E006",
        )
    elif djangos:
        yield checks.Warning(
            f"MIDDLEWARE has {_DJANGOS}: it deletes the cookie of a new login when a request comes"
            " late, answers 500 while the cluster fails over, and saves in a thread under ASGI.",
            hint=f"Replace it by {_OURS}.",
            id="clustercache.W007",
        )


def _middlewares() -> tuple[list[str], list[str]]:
    """Return our session middleware in MIDDLEWARE, and Django's own."""
    from django.contrib.sessions.middleware import SessionMiddleware as Theirs

    from clustercache.django.middleware import SessionMiddleware as Ours

    kinds = {path: import_string(path) for path in settings.MIDDLEWARE}
    all_of_them = {p: k for p, k in kinds.items() if isinstance(k, type) and issubclass(k, Theirs)}
    ours = [path for path, kind in all_of_them.items() if issubclass(kind, Ours)]
    return ours, [path for path in all_of_them if path not in ours]


def _of_the_serializer() -> Iterable[Any]:
    name = settings.SESSION_SERIALIZER
    if "pickle" in name.lower():
        yield checks.Error(
            f"SESSION_SERIALIZER is {name!r}, and no session is pickled here: whoever can write to"
            " the server could run code.",
            hint="Remove it; dates, decimals, UUIDs, bytes, sets and tuples are kept as they are.",
            id="clustercache.E008",
        )
    elif name != _JSON:
        yield checks.Warning(
            f"SESSION_SERIALIZER is {name!r}, and is not used.",
            hint='Give CLUSTERCACHE_SESSIONS = {"serializer": ...} instead.',
            id="clustercache.W009",
        )


def _of_the_cookie() -> Iterable[Any]:
    name, secure = settings.SESSION_COOKIE_NAME, settings.SESSION_COOKIE_SECURE
    if name.startswith(("__Host-", "__Secure-")) and not secure:
        yield checks.Error(
            f"Browsers refuse the cookie {name!r}, for SESSION_COOKIE_SECURE is not set.",
            id="clustercache.E010",
        )
    scoped = settings.SESSION_COOKIE_DOMAIN or settings.SESSION_COOKIE_PATH != "/"
    if name.startswith("__Host-") and scoped:
        yield checks.Error(
            f"Browsers refuse the cookie {name!r} with a domain, or with a path that is not /.",
            id="clustercache.E011",
        )
