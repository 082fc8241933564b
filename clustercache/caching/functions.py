"""What `cached` makes of a function."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final

from clustercache.caching.aflights import AsyncFlights
from clustercache.caching.base import DEFAULT
from clustercache.caching.direct import tag_labels
from clustercache.caching.flights import Flights
from clustercache.caching.freshness import Freshness
from clustercache.caching.keys import Keys
from clustercache.caching.looking import FUNCTION, NAMESPACE, Wanted
from clustercache.caching.names import misuse, name_of
from clustercache.caching.near import MISSING
from clustercache.caching.settings import Recipe, positive
from clustercache.caching.stats import CacheInfo
from clustercache.caching.values import is_immutable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from clustercache.caching.stats import FunctionStats

_DEFAULTS: Final[Mapping[str, Any]] = {
    "ttl": DEFAULT, "key": None, "name": "", "version": None, "ignore": (), "tags": (),
    "jitter": 0.0, "stale": 0, "stale_if_error": 0, "soft_timeout": None, "early": 1.0,
    "cache_if": None, "errors": (), "serializer": None, "schema": 0, "wait": None, "lease": None,
}  # fmt: skip


def decorator(
    cache: Any, function: Any, options: Mapping[str, Any], wrap: Callable[[Any, Any, Any], Any]
) -> Any:
    """Return a decorated function, or the decorator where there is none yet."""
    unknown = options.keys() - _DEFAULTS.keys()
    if unknown:
        raise misuse(f"unknown options: {', '.join(sorted(unknown))}")
    chosen = {**_DEFAULTS, **options}

    def decorate(decorated: Any) -> Any:
        if isinstance(decorated, (classmethod, staticmethod)):
            return type(decorated)(decorate(decorated.__func__))
        refuse(decorated)
        return wrap(cache, decorated, chosen)

    if function is None:
        return decorate
    if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
        raise TypeError(f"cached takes its options by name: @cache.cached(ttl={function!r})")
    return decorate(function)


def refuse(function: Any) -> None:
    """Raise TypeError for what has no result that could be kept."""
    if not callable(function):
        raise TypeError(f"cached decorates functions, and this is a {type(function).__qualname__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator: what it yields can be had only once. Cache a"
            " function that returns a list of it"
        )


def recipe_of(cache: Any, options: Mapping[str, Any]) -> Recipe:
    """Return how a function's values are made, judged and stored."""
    settings = cache.settings
    ttl, soft, errors = options["ttl"], options["soft_timeout"], options["errors"]
    freshness = Freshness(
        settings.ttl if ttl is DEFAULT else ttl,
        **{name: options[name] for name in ("jitter", "stale", "stale_if_error", "early")},
    )
    if soft is not None:
        positive("soft_timeout", soft)
        if not freshness.spare:
            raise misuse("soft_timeout= returns an old value, so it needs stale_if_error=")
    waits = {
        name: getattr(settings, name) if options[name] is None else options[name]
        for name in ("wait", "lease")
    }
    for name, seconds in waits.items():
        positive(name, seconds)
    errors = errors if isinstance(errors, tuple) else (errors,)
    for kind in errors:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise misuse(f"errors= takes classes of exceptions, not {kind!r}")
        name_of(kind)  # other processes have to know it as well
    return Recipe(
        freshness=freshness,
        envelopes=settings.envelopes(options["serializer"], options["schema"]),
        cache_if=options["cache_if"],
        errors=errors,
        soft_timeout=soft,
        tags_live=freshness.longest,
        **waits,
    )


class Function:
    """A function, and all that its calls have in common.

    Attributes:
        cache: The cache of its kind: of a coroutine function, the asyncio twin.
        keys: The keys of its calls.
    """

    def __init__(self, cache: Any, function: Any, options: Mapping[str, Any]) -> None:
        """Call nothing yet."""
        is_async = inspect.iscoroutinefunction(function)
        self.cache = cache.for_kind(is_async=is_async)
        self.function = function
        named = ("name", "version", "key", "ignore")
        self.keys = Keys(
            function,
            namespace=cache.settings.namespace,
            **{name: options[name] for name in named},
        )
        self.recipe = replace(recipe_of(cache, options), function=self.keys.name)
        shared = cache._shared  # noqa: SLF001 - ours too
        self.plans = shared.plans
        self.counters = shared.counters_of(self.keys.name)
        self._labels: tuple[str, ...] = (NAMESPACE, FUNCTION + self.keys.name)
        self._tags = options["tags"]
        if isinstance(self._tags, str):
            raise misuse('tags= takes several names; write tags=("name",)')
        if not callable(self._tags):
            self._labels += tag_labels(self._tags)
            for tag in self._tags:
                self.plans.layout.tag(tag)
        self._value_key = self.plans.layout.value

    def wanted(self, name: Hashable, args: Any, kwargs: Any, make: Any = None) -> Wanted:
        """Return the value that a call wants, by its near key."""
        labels = self._labels
        if callable(self._tags):
            tags = self._tags(*args, **kwargs)
            if isinstance(tags, str):
                raise TypeError(
                    f"tags= of {self.keys.name} returned one text: return several names"
                )
            labels += tag_labels(tags)
        key = self._value_key(self.keys.far(name))  # type: ignore[arg-type]
        make = make or partial(self.function, *args, **kwargs)
        return Wanted(key, name, labels, self.recipe, self.counters, make)

    def of_call(self, args: Any, kwargs: Any) -> Wanted:
        """Return the value that a call wants."""
        return self.wanted(self.keys.near(*args, **kwargs), args, kwargs)

    # Attributes of the decorated function -----------------------------------------------------

    def cache_key(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the key of a call, without the namespace."""
        return self.keys(*args, **kwargs)

    def cache_info(self) -> CacheInfo:
        """Return cachetools' four fields."""
        stats, near = self.cache_stats(), self.cache.near
        sizes = (None, 0) if near is None else (near.maxsize, len(near))
        return CacheInfo(stats.hits, stats.misses, *sizes)

    def cache_stats(self) -> FunctionStats:
        """Return what was counted."""
        stats: FunctionStats = self.counters.read()
        return stats

    def cache_clear(self) -> Any:
        """Unlink the tokens that all its values depend on."""
        return self.cache._run(  # noqa: SLF001 - ours too
            self.plans.unlink(self.plans.layout.owners(self.keys.name), "function")
        )

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Delete a call's value; return how many were stored."""
        key = self._value_key(self.keys(*args, **kwargs))
        return self.cache._run(self.plans.unlink([key], "keys"))  # noqa: SLF001 - ours too

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make a call's value now, and store it."""
        return self.cache._run(self.plans.anew(self.of_call(args, kwargs)))  # noqa: SLF001 - ours too

    def fresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Fetch a call's value past the near cache."""
        wanted = self.of_call(args, kwargs)
        return self.cache._run(self.plans.fetch(wanted, near=False))  # noqa: SLF001 - ours too

    def dress(self, call: Any) -> Any:
        """Return a decorated function with its attributes."""
        update_wrapper(call, self.function)
        call.cache, call.cache_lock = self.cache, None
        for one in (self.cache_key, self.cache_info, self.cache_stats, self.cache_clear,
                    self.cache_invalidate, self.refresh, self.fresh):  # fmt: skip
            setattr(call, one.__name__, one)
        return call


def wrapped(cache: Any, function: Any, options: Mapping[str, Any]) -> Any:
    """Return the function that answers from the cache, and computes at most once at a time."""
    made = Function(cache, function, options)
    if inspect.iscoroutinefunction(function):
        return made.dress(_awaited(made))
    return made.dress(_called(made))


def _called(made: Function) -> Callable[..., Any]:
    near_key, run, plans = made.keys.near, made.cache._run, made.plans  # noqa: SLF001 - ours too
    near, count_near = made.cache.near, made.counters.near_hits
    near_get = None if near is None else near.get
    fly, wait = Flights().fly, made.recipe.wait

    def fetch(name: Hashable, args: Any, kwargs: Any) -> Any:
        value, followed = fly(
            name,
            lambda: run(plans.fetch(made.wanted(name, args, kwargs))),
            lambda: run(plans.alone(made.wanted(name, args, kwargs))),
            wait,
            own_copy,
        )
        if followed:
            made.counters.stampedes_avoided()
        return value

    def call(*args: Any, **kwargs: Any) -> Any:
        name = near_key(*args, **kwargs)
        if near_get is not None:
            value = near_get(name)
            if value is not MISSING:
                count_near()
                return value
        return fetch(name, args, kwargs)

    return call


def _awaited(made: Function) -> Callable[..., Any]:
    near_key, run, plans = made.keys.near, made.cache._run, made.plans  # noqa: SLF001 - ours too
    near, count_near = made.cache.near, made.counters.near_hits
    near_get = None if near is None else near.get
    fly, wait = made.cache.flights(AsyncFlights()).fly, made.recipe.wait

    async def fetch(name: Hashable, args: Any, kwargs: Any) -> Any:
        value, followed = await fly(
            name,
            lambda: run(plans.fetch(made.wanted(name, args, kwargs))),
            lambda: run(plans.alone(made.wanted(name, args, kwargs))),
            wait,
            own_copy,
        )
        if followed:
            made.counters.stampedes_avoided()
        return value

    async def call(*args: Any, **kwargs: Any) -> Any:
        name = near_key(*args, **kwargs)
        if near_get is not None:
            value = near_get(name)
            if value is not MISSING:
                count_near()
                return value
        return await fetch(name, args, kwargs)

    return call


def own_copy(value: Any) -> Any:
    """Return a value for another caller, who may change his."""
    if is_immutable(value):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - what cannot be copied is shared, as without a cache it is not
        return value
