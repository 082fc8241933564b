"""From one entry of Django's CACHES to what a `Cache` is made of."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections
from django.utils.module_loading import import_string

from clustercache.caching.adapters import near_of
from clustercache.caching.signed_pickle import SignedPickle
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NEXT: Final = re.compile(r"[;,](?=[\w+]+://)")
"""What parts the URLs of one text; a password may have these characters as well."""


class Wish(NamedTuple):
    """What a cache is made of; backends whose wishes are equal share one.

    Attributes:
        location: LOCATION.
        options: OPTIONS.
        timeout: TIMEOUT, in seconds; None for ever.
        secrets: What pickles are signed with, the first one, or may be; none for no pickles.
    """

    location: Any
    options: Mapping[str, Any]
    timeout: int | None
    secrets: tuple[Any, ...]


def wish(location: Any, params: Mapping[str, Any], timeout: int | None) -> Wish:
    """Return what an entry of CACHES, and the secrets, ask for.

    Raises:
        ImproperlyConfigured: There is no LOCATION, or no SECRET_KEY.
    """
    if not location:
        msg = 'CACHES: LOCATION is missing: as "redis://10.0.0.1:7000"'
        raise ImproperlyConfigured(msg)
    options = dict(params.get("OPTIONS") or {})
    pickles = options.get("serializer") is None
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS) if pickles else ()
    return Wish(location, options, timeout, secrets)


def arguments(wished: Wish) -> tuple[str | list[str], dict[str, Any]]:
    """Return the URL and the options of the cache.

    Raises:
        ImproperlyConfigured: An option is wrong in itself.
    """
    options = dict(wished.options)
    if "ttl" in options:
        msg = "CACHES: OPTIONS has a ttl; write TIMEOUT beside it"
        raise ImproperlyConfigured(msg)
    options["near"] = near_of(options.get("near"))
    options["serializer"] = _serializer(options.get("serializer"), wished.secrets)
    options.setdefault("namespace", "django")
    options.setdefault("around", fresh_connections)
    return _urls(wished.location), options | {"ttl": wished.timeout}


def _urls(location: str | Iterable[str]) -> str | list[str]:
    urls = _NEXT.split(location) if isinstance(location, str) else list(location)
    return urls[0] if len(urls) == 1 else urls


def _serializer(wished: Any, secrets: tuple[Any, ...]) -> Any:
    if wished is None:
        try:
            return SignedPickle(secrets[0], fallbacks=secrets[1:])
        except ConfigurationError as error:
            msg = f"SECRET_KEY or SECRET_KEY_FALLBACKS cannot sign what is cached: {error}"
            raise ImproperlyConfigured(msg) from None
    made = import_string(wished) if isinstance(wished, str) and "." in wished else wished
    return made() if isinstance(made, type) else made


@contextmanager
def fresh_connections() -> Iterator[None]:
    """Close database connections that are too old or broken, before and after a computation.

    A request does so for its own thread; nobody does for the threads in the background.
    """
    if _in_event_loop():  # Django's asynchronous ORM has its connections in other threads
        yield
        return
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
