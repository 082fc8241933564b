"""Functions that are decorated before their cache is known."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from clustercache.caching.functions import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

_ATTRIBUTES = (
    "cache_key", "cache_info", "cache_stats", "cache_clear", "cache_invalidate", "refresh", "fresh",
)  # fmt: skip


def lazily(function: Any, find: Callable[[Any], Callable[[], Any]]) -> Any:
    """Decorate a function, or return the decorator where there is none yet.

    Args:
        function: What is decorated, or None.
        find: Takes what is decorated; what it returns is asked for the cached function in each
            call.

    Raises:
        TypeError: It is a generator function, or nothing that can be called.
    """

    def decorate(decorated: Any) -> Any:
        if isinstance(decorated, (classmethod, staticmethod)):
            return type(decorated)(decorate(decorated.__func__))
        refuse(decorated)
        return _lazy(decorated, find(decorated))

    return decorate if function is None else decorate(function)


def _lazy(function: Callable[..., Any], real: Callable[[], Any]) -> Any:
    def called(*args: Any, **kwargs: Any) -> Any:
        return real()(*args, **kwargs)

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await real()(*args, **kwargs)

    call: Any = awaited if inspect.iscoroutinefunction(function) else called
    update_wrapper(call, function)
    for name in _ATTRIBUTES:
        setattr(call, name, _forwarded(real, name))
    return call


def _forwarded(real: Callable[[], Any], name: str) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return getattr(real(), name)(*args, **kwargs)

    return forward
