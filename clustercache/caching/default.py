"""The default cache: `configure` makes it, and functions that `cached` decorates find it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from clustercache.caching.lazily import lazily
from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache.caching.cache import Cache
    from clustercache.caching.decorating import CachedFunction, Options

P = ParamSpec("P")
R = TypeVar("R")
_lock = threading.Lock()
_default: Cache | None = None


def configure(url: str | Iterable[str], **options: Any) -> Cache:
    """Make the default cache, for functions that `clustercache.cached` decorates; return it.

    Args:
        url: As `Cache.from_url` takes it.
        options: The same.

    Raises:
        ConfigurationError: Something in it is wrong, or the default cache is in use already.
    """
    global _default  # noqa: PLW0603 - it is what a default is
    from clustercache.caching.cache import Cache

    with _lock:
        if _default is not None:
            raise misuse("the default cache is configured already: do it once, at the start")
        _default = Cache.from_url(url, **options)
        return _default


def unconfigure() -> None:
    """Close the default cache, as at the end of a test; `configure` may be called again then.

    Functions that have been called stay with the cache that they had.
    """
    global _default
    with _lock:
        cache, _default = _default, None
    if cache is not None:
        cache.close()


def default() -> Cache:
    """Return the default cache.

    Raises:
        ConfigurationError: There is none yet.
    """
    if _default is None:
        raise misuse("call clustercache.configure(url) before the first call of a cached function")
    return _default


@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached(
    **options: Unpack[Options],
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
def cached(function: Any = None, /, **options: Any) -> Any:
    """Decorate a function as `Cache.cached` does, with the cache that `configure` makes later.

    Args:
        function: The function, where there are no options.
        options: Those of `Cache.cached`.
    """
    return lazily(function, lambda decorated: _once(decorated, options))


def _once(function: Callable[..., Any], options: dict[str, Any]) -> Callable[[], Any]:
    """Return what makes the cached function when it is asked first."""
    made: list[Any] = []

    def real() -> Any:
        if not made:
            cache = default()
            with _lock:
                if not made:
                    made.append(cache.cached(**options)(function))
        return made[0]

    return real
