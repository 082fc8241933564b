"""What both caches are made of: settings, plans, near cache, counters, and the decorators."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

from clustercache._core.read_from import ReadFrom
from clustercache.caching.direct import Direct, tag_labels
from clustercache.caching.freshness import Freshness
from clustercache.caching.layout import Layout
from clustercache.caching.looking import NAMESPACE, Wanted
from clustercache.caching.memory import Memory, memory_at
from clustercache.caching.near import MISSING, NearCache
from clustercache.caching.settings import NAMES, CacheSettings, Recipe
from clustercache.caching.stats import CacheStats, Counters
from clustercache.exceptions import ConfigurationError
from clustercache.instrumentation.hooks import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from clustercache.caching.freshness import Ttl
    from clustercache.instrumentation import Event


class Default:
    """The type of `DEFAULT`."""

    def __repr__(self) -> str:
        """Show what it stands for."""
        return "<the cache's own>"


_UNTAGGED: Final[tuple[str, ...]] = (NAMESPACE,)
DEFAULT: Final[Any] = Default()
"""Stands for what the cache was told, where None has a meaning of its own."""


class Shared:
    """What a cache and its asyncio twin have in common.

    Attributes:
        settings: As given.
        near: What is kept in the process, or None.
        plans: What is done when.
        counters: Of the calls that are of no function.
        functions: Those of each function, by its name.
    """

    def __init__(self, settings: CacheSettings, near: NearCache | None, observer: Observer) -> None:
        """Do nothing yet."""
        self.settings = settings
        self.near = near
        self.observer = observer
        self.plans = Direct(settings, Layout(settings.namespace), near, self.tell)
        self.counters = Counters()
        self.functions: dict[str, Counters] = {}
        self.lock = threading.Lock()
        self.envelopes = settings.envelopes()
        self.recipe = Recipe(
            freshness=Freshness(settings.ttl), envelopes=self.envelopes, wait=settings.wait,
            lease=settings.lease, tags_live=Freshness(settings.ttl).longest,
        )  # fmt: skip

    def tell(self, event: Event) -> None:
        """Tell hooks and log of an event."""
        self.observer.tell(event)

    def counters_of(self, function: str) -> Counters:
        """Return the counters of a function."""
        with self.lock:
            return self.functions.setdefault(function, Counters())


class BaseCache(ABC):
    """Everything of a cache but its way to the servers.

    Attributes:
        client: Who is asked; None in process.
    """

    _client: type[Any]
    client: Any

    def __init__(self, client: Any, *, near: NearCache | None = None, **options: Any) -> None:
        """Keep values by a client.

        Args:
            client: A client of the cache's kind, or what `from_url` makes of ``memory://``.
            near: Keeps what was read in the process; None reads each time.
            options: Those of `CacheSettings`.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        own, unknown = _parted(options)
        if unknown:
            msg = f"unknown options: {', '.join(sorted(unknown))}"
            raise ConfigurationError(msg)
        given: Any = near
        if given is not None and not isinstance(given, NearCache):
            msg = f"near= takes a NearCache(...) or None, and this is a {type(given).__name__}"
            raise ConfigurationError(msg)
        self._owns_client = False
        in_process = isinstance(client, Memory)
        if not in_process and not isinstance(client, self._client):
            kind, own_name = self._client.__name__, type(self).__name__
            got = type(client).__name__
            msg = f"{own_name} takes a {kind}, got a {got}: use {own_name}.from_url(url)"
            raise ConfigurationError(msg)
        if not in_process and not _is_fit(client.config):
            client = type(client)(
                replace(client.config, decode_responses=False, read_from=ReadFrom.PRIMARY)
            )
            self._owns_client = True
        self.client = None if in_process else client
        settings = CacheSettings(**own)
        hooks = settings.hooks or (() if in_process else client.config.hooks)
        # Nothing is kept near of what is in the process already.
        shared = Shared(settings, None if in_process else near, Observer(hooks))
        if shared.near is not None:
            shared.near.belong(shared)
        self._begin(client, shared)

    def _begin(self, client: Any, shared: Shared) -> None:
        self._shared = shared
        self.settings = shared.settings
        self.near = shared.near
        self._plans = shared.plans
        self._open(client)

    def _leave_near(self) -> None:
        if self.near is not None:
            self.near.leave(self._shared)

    @abstractmethod
    def _open(self, client: Any) -> None:
        """Make what sends calls by a client."""

    @classmethod
    def from_url(
        cls, url: str | Iterable[str], *, near: NearCache | None = None, **options: Any
    ) -> Self:
        """Return a cache at a URL.

        Args:
            url: As `Cluster.from_url` takes it, or ``memory://`` (one with a name, as
                ``memory://shop``, is shared in the process), or ``null://``, which keeps nothing.
            near: Keeps what was read in the process; None reads each time.
            options: Those of `CacheSettings` and, where there is a server, of the client, whose
                deadline is the cache's.

        Raises:
            ConfigurationError: Something in it is unknown or out of range.
        """
        own, others = _parted(options)
        memory = memory_at(url, others)
        if memory is not None:
            return cls(memory, near=near, **own)
        settings = CacheSettings(**own)
        cache = cls(
            cls._client.from_url(url, deadline=settings.deadline, **others), near=near, **own
        )
        cache._owns_client = True
        return cache

    # What is wanted ---------------------------------------------------------------------------

    def _wanted(
        self,
        key: str,
        ttl: Ttl = DEFAULT,
        tags: Sequence[str] = (),
        make: Callable[[], Any] | None = None,
    ) -> Wanted:
        """Return one value under a key of one's own."""
        shared, labels = self._shared, _UNTAGGED
        recipe = shared.recipe if ttl is DEFAULT else _with_ttl(shared.recipe, ttl)
        if tags:
            if isinstance(tags, str):
                raise TypeError('tags takes several names; write tags=("name",)')
            labels += tag_labels(tags)
        whole = shared.plans.layout.value(key)
        return Wanted(whole, whole, labels, recipe, shared.counters, make)

    def _dropped(self, failed: Mapping[str, Any]) -> list[str]:
        """Return the keys of what could not be stored; tell of each error."""
        for error in failed.values():
            self._plans.failed("set", error)
        if failed and self.settings.on_error == "raise":
            raise next(iter(failed.values()))
        start = len(self.settings.namespace) + 1
        return [key[start:] for key in failed]

    def _near_get(self, wanted: Wanted, *, fresh: bool) -> Any:
        if fresh or self.near is None:
            return MISSING
        value = self.near.get(wanted.name)
        if value is not MISSING:
            self._shared.counters.near_hits()
        return value

    def _near_many(
        self, keys: Iterable[str], *, fresh: bool
    ) -> tuple[dict[str, Any], dict[str, Wanted]]:
        """Return what is near, and what has to be asked for."""
        found, wanted = {}, {}
        for key in dict.fromkeys(keys):
            one = self._wanted(key)
            value = self._near_get(one, fresh=fresh)
            if value is MISSING:
                wanted[key] = one
            else:
                found[key] = value
        return found, wanted

    # Statistics -------------------------------------------------------------------------------

    def stats(self) -> CacheStats:
        """Return what was counted since the cache was made; `print` shows it as a table."""
        shared = self._shared
        return CacheStats.of(shared.counters, shared.functions, shared.near)

    def __repr__(self) -> str:
        """Show the namespace and the seeds; never credentials."""
        where = "in process" if self.client is None else repr(self.client)
        return f"<{type(self).__name__} {self.settings.namespace!r} {where}>"


def there(wanted: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    """Return by key the values that are there."""
    pairs = zip(wanted, values, strict=True)
    return {key: value for key, value in pairs if value is not MISSING}


def _is_fit(config: Any) -> bool:
    """Tell whether a client returns bytes, of primaries: replicas are late with invalidations."""
    return not config.decode_responses and config.read_from is ReadFrom.PRIMARY


def _parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a cache's options from those of its client."""
    own = {name: value for name, value in options.items() if name in NAMES}
    return own, {name: value for name, value in options.items() if name not in NAMES}


@lru_cache(maxsize=256)
def _with_ttl(recipe: Recipe, ttl: Ttl) -> Recipe:
    freshness = Freshness(ttl)
    return replace(recipe, freshness=freshness, tags_live=freshness.longest)
