"""What the blocking and the asynchronous half of the cache backend have in common."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from clustercache.caching.memory import Memory
from clustercache.django.caches import shared
from clustercache.django.options import wish
from clustercache.django.patterns import escaped, matcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from functools import cached_property

    from clustercache.caching.cache import Cache
else:
    # Python 3.11's own has a lock for all instances, which a fork may find held.
    from django.utils.functional import cached_property

LOT = 1000
"""How many keys are looked for, and deleted, at a time."""

ABSENT = "there is no such key in the cache"


class Keyed(BaseCache):  # type: ignore[misc]
    """Django's keys and timeouts, over a `Cache`."""

    def __init__(self, location: Any, params: Mapping[str, Any]) -> None:
        """Take an entry of CACHES; it is looked at when the cache is used first."""
        super().__init__(params)
        self._location = location
        self._params = params

    @cached_property
    def inner(self) -> Cache:
        """Return the cache that is shared in the process, with tags, statistics and all else.

        Raises:
            ImproperlyConfigured: The entry of CACHES says what cannot be.
        """
        # Not before it is used: the checks tell of what is wrong, and Django's make all backends.
        return shared(wish(self._location, self._params, self.default_timeout))

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        """Return for how many seconds a value is kept; None for ever, 0 not at all."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return None
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        return max(0, seconds)

    def _keys(self, keys: Iterable[Any], version: int | None) -> dict[str, Any]:
        """Return what was asked for by what it is stored under."""
        return {self.make_and_validate_key(key, version=version): key for key in keys}

    def _pattern(self, pattern: str, version: int | None) -> str:
        """Return the pattern of what keys are stored under, without the namespace."""
        which = str(self.version if version is None else version)
        made: str = self.key_func(pattern, escaped(self.key_prefix), escaped(which))
        return made

    @property
    def _start(self) -> str:
        return f"{self.inner.settings.namespace}:"

    def _remembered(self, pattern: str) -> list[str] | None:
        """Return the keys in this process that match; None if the values are at servers."""
        memory = self.inner._memory  # noqa: SLF001 - ours too
        if not isinstance(memory, Memory):
            return None
        matches = matcher(self._start + pattern)
        return [key.removeprefix(self._start) for key in memory.held() if matches(key)]

    def _plain(self, keys: Iterable[bytes]) -> list[str]:
        """Return keys without the namespace; ours are text."""
        return [key.decode("utf-8", "replace").removeprefix(self._start) for key in keys]


def left(seconds: float) -> float | None:
    """Return how long a value is kept, in Django's terms."""
    return None if math.isinf(seconds) else seconds
