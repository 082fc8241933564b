"""`cached` for a Django project: at import time nobody asks what CACHES says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.signals import setting_changed

from clustercache.caching.lazily import lazily

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clustercache.caching.decorating import CachedFunction, Options

P = ParamSpec("P")
R = TypeVar("R")
_SAYING = frozenset({"CACHES", "SECRET_KEY", "SECRET_KEY_FALLBACKS"})
_functions: dict[Any, Any] = {}
"""Those that were called, by what stands for them: to ask `caches` takes longer than a near hit."""


@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached(
    *, using: str = ..., **options: Unpack[Options]
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def cached(function: Any = None, /, *, using: str = DEFAULT_CACHE_ALIAS, **options: Any) -> Any:
    """Decorate a function as `Cache.cached` does, with one of CACHES.

    Args:
        function: The function, where there are no options.
        using: Which one, of those that are ours.
        options: Those of `Cache.cached`; `ttl` is TIMEOUT by default.
    """
    return lazily(function, partial(_by_settings, "cached", using, options))


@overload
def cached_many(function: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached_many(
    *, using: str = ..., **options: Unpack[Options]
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def cached_many(
    function: Any = None, /, *, using: str = DEFAULT_CACHE_ALIAS, **options: Any
) -> Any:
    """Decorate a function of many keys as `Cache.cached_many` does, with one of CACHES.

    Args:
        function: The function, where there are no options.
        using: As for `cached`.
        options: Those of `Cache.cached_many`.
    """
    return lazily(function, partial(_by_settings, "cached_many", using, options))


def _by_settings(
    kind: str, using: str, options: Mapping[str, Any], function: Any
) -> Callable[[], Any]:
    """Return what returns the function, cached by what the settings say now."""

    def real() -> Any:
        return _functions.get(real) or make()

    def make() -> Any:
        decorate = getattr(caches[using].inner, kind)
        return _functions.setdefault(real, decorate(**options)(function))

    return real


def _forget(*, setting: str, **_: Any) -> None:
    """Look at the settings again: a test changed them."""
    if setting in _SAYING:
        _functions.clear()


setting_changed.connect(_forget, dispatch_uid="clustercache.django.decorating")
