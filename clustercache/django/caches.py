"""The caches of this process: Django makes a backend for each thread and task, and they share."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from clustercache.caching.cache import Cache
from clustercache.django.options import arguments

if TYPE_CHECKING:
    from clustercache.django.options import Wish

_made: list[tuple[Wish, Cache]] = []
_lock = threading.RLock()


def shared(wished: Wish) -> Cache:
    """Return the cache that all have who wish the same; it is made if need be.

    Raises:
        ImproperlyConfigured: There can be no such cache.
    """
    return _found(wished) or _make(wished)


def _found(wished: Wish) -> Cache | None:
    return next((cache for known, cache in _made if known == wished), None)


def _make(wished: Wish) -> Cache:
    with _lock:
        cache = _found(wished)
        if cache is None:
            cache = _new(wished)
            _made.append((wished, cache))
        return cache


def _new(wished: Wish) -> Cache:
    try:
        url, options = arguments(wished)
        return Cache.from_url(url, **options)
    except (ImportError, TypeError, ValueError) as error:
        msg = f"CACHES: there can be no such cache: {error}"
        raise ImproperlyConfigured(msg) from error


@atexit.register
def close_all() -> None:
    """Close all caches: the process ends."""
    with _lock:
        closing = [cache for _, cache in _made]
        _made.clear()
    for cache in closing:
        cache.close()


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - somebody may have had it, who is not here
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
