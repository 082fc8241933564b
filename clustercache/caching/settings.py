"""What a cache can be told, and what one cached function can."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from clustercache._values.serializers import Msgspec, TaggedJSON
from clustercache.caching.envelope import Envelopes
from clustercache.caching.freshness import Freshness
from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from clustercache._values.serializers import Serializer
    from clustercache.caching.freshness import Ttl
    from clustercache.instrumentation import Hook

OnError = Literal["compute", "raise"]
_SERIALIZERS: Final[dict[str, Callable[[], Serializer]]] = {"json": TaggedJSON, "msgspec": Msgspec}

_RANGES: Final = {"lease": (0.001, 1_000_000), "soft_timeout": (0, 1_000_000)}
"""Seconds: servers count milliseconds, and threads wait for so many years and no more."""


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """How values are kept; times in seconds.

    Args:
        namespace: Begins all keys; `clear` empties it alone.
        ttl: How long values live that are stored without a time of their own; None for ever.
        deadline: How long a call waits for servers, with all retries; after that it computes.
        wait: How long a call waits for another that computes the same; after that it computes too.
        lease: So long after its last sign of life a process that computes is taken for dead.
        on_error: What reads and fills do without their server: "compute", or "raise" the error.
        serializer: "json" (tagged), "msgspec", or an object with `dumps` and `loads`.
        compress_above: Bytes from which on a value is compressed; None for never.
        max_bytes: What a value may have, in bytes, before it is compressed.
        workers: Threads, or tasks in a loop, that compute at a time what nobody waits for.
        around: Returns a context manager that such a computation runs inside.
        hooks: Called with each event, as a client's.
    """

    namespace: str = "cache"
    ttl: Ttl = 300.0
    deadline: float = 1.5
    wait: float = 10.0
    lease: float = 5.0
    on_error: OnError = "compute"
    serializer: Serializer | Literal["json", "msgspec"] = "json"
    compress_above: int | None = 1024
    max_bytes: int = 64 << 20
    workers: int = 4
    around: Callable[[], AbstractContextManager[object]] | None = None
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is opened."""
        for name in ("deadline", "wait", "lease"):
            positive(name, getattr(self, name))
        if self.on_error not in {"compute", "raise"}:
            raise misuse('on_error= is "compute" or "raise"')
        if self.workers < 1:
            raise misuse("workers= has to be 1 or more")
        Freshness(self.ttl)
        self.envelopes()

    def envelopes(self, serializer: Any = None, schema: int = 0) -> Envelopes:
        """Return what writes and reads values, with the settings' serializer or another."""
        chosen = self.serializer if serializer is None else serializer
        if isinstance(chosen, str):
            if chosen not in _SERIALIZERS:
                raise misuse(f"serializer={chosen!r} is none of {', '.join(_SERIALIZERS)}")
            chosen = _SERIALIZERS[chosen]()
        return Envelopes(
            chosen, schema=schema, compress_above=self.compress_above, max_bytes=self.max_bytes
        )


NAMES: Final = frozenset(CacheSettings.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How the values of one function are made, judged and stored.

    Attributes:
        freshness: For how long they are good.
        envelopes: Their bytes.
        cache_if: Tells of a value whether it is stored.
        errors: Exceptions that are stored like values, and raised again.
        soft_timeout: Seconds after which an old value is returned, while the new one is made.
        wait: As in `CacheSettings`.
        lease: As in `CacheSettings`.
        tags_live: Milliseconds that tags' tokens have to live at the least; None for ever.
        function: The name of the function, for events.
    """

    freshness: Freshness
    envelopes: Envelopes
    cache_if: Callable[[Any], bool] | None = None
    errors: tuple[type[Exception], ...] = ()
    soft_timeout: float | None = None
    wait: float = 10.0
    lease: float = 5.0
    tags_live: int | None = None
    function: str = ""


def positive(name: str, seconds: Any) -> None:
    """Refuse what is no positive number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise misuse(f"{name}={seconds!r} has to be a positive number of seconds")
    least, most = _RANGES.get(name, (0, math.inf))
    if not least <= seconds <= most:
        raise misuse(f"{name}={seconds!r} has to be from {least} to {most:,} seconds")
