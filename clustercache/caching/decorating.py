"""`cached` and `cached_many`, as methods of both caches, typed so that signatures stay."""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from clustercache.caching import functions, many_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from clustercache._values.serializers import Serializer
    from clustercache.caching.freshness import Span, Ttl
    from clustercache.caching.near import NearCache
    from clustercache.caching.settings import CacheSettings
    from clustercache.caching.stats import CacheInfo, FunctionStats

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


class CachedFunction(Protocol[P, R_co]):
    """A function whose results are cached; of a coroutine function all but the first two are, too.

    Attributes:
        cache: The cache that it uses.
    """

    cache: Any

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The function itself."""
        ...

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return what the function returns, or did."""
        ...

    @overload
    def __get__(self, instance: None, owner: type, /) -> CachedFunction[P, R_co]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R_co], instance: S, owner: type | None = None, /
    ) -> Callable[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """Return a method."""
        ...

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call's value, as `Cache.get` and `Cache.delete` take it."""
        ...

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, maxsize and currsize, as functools and cachetools do."""
        ...

    def cache_stats(self) -> FunctionStats:
        """Return what was counted of this function."""
        ...

    def cache_clear(self) -> Any:
        """Let no result of this function be found; raise unless the servers confirmed it."""
        ...

    def cache_invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Delete one call's result; raise unless the server confirmed it."""
        ...

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function now, store what it returns, and return it."""
        ...

    def fresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return what the server has, whatever is near."""
        ...


class Options(TypedDict, total=False):
    """What `cached` takes.

    Attributes:
        ttl: Seconds or a timedelta that results are fresh; None for ever; or a callable that
            takes the result and returns one of these. The cache's own by default.
        key: A template for the key (``"product:{pk}"``), or a callable that takes the arguments
            and returns what counts of them.
        name: Stands for the function in keys; its module and qualified name by default. Lambdas
            and closures need one.
        version: To be changed when results change their meaning.
        ignore: Names of arguments that do not count.
        tags: Names that results can be invalidated by; or a callable that takes the arguments and
            returns them.
        jitter: The part of `ttl`, from 0 to 1, that chance takes away.
        stale: Seconds after `ttl` in which the old result is returned while one caller, in the
            background, computes a new one.
        stale_if_error: Seconds after `ttl` in which it is returned where computing fails.
        soft_timeout: Seconds after which it is returned while computing goes on.
        early: How eager results are computed anew before they end: 0 is never.
        cache_if: Takes a result and tells whether to store it.
        errors: Exceptions that are stored like results, and raised again as these classes; not
            those that their arguments alone do not make again as they were.
        serializer: In place of the cache's.
        schema: A number to be changed when results change their shape; older ones are misses.
        wait: Seconds that a call waits for another that computes the same.
        lease: Seconds after which a process that computes, and was not heard of, is taken for dead.
    """

    ttl: Ttl
    key: str | Callable[..., Any] | None
    name: str
    version: str | int | None
    ignore: Collection[str]
    tags: Sequence[str] | Callable[..., Sequence[str]]
    jitter: float
    stale: Span
    stale_if_error: Span
    soft_timeout: float | None
    early: float
    cache_if: Callable[[Any], bool] | None
    errors: type[Exception] | tuple[type[Exception], ...]
    serializer: Serializer | str | None
    schema: int
    wait: float
    lease: float


class Decorating:
    """The decorators of a cache."""

    settings: CacheSettings
    near: NearCache | None

    @overload
    def cached(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(
        self, /, **options: Unpack[Options]
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
    def cached(self, function: Any = None, /, **options: Any) -> Any:
        """Decorate a function so that its results are cached.

        Functions, coroutine functions, methods, and what classmethod and staticmethod return.

        Args:
            function: The function, where there are no options.
            options: See `Options`.

        Raises:
            TypeError: It is a generator function, or nothing that can be called.
            ConfigurationError: An option is unknown or out of range.
        """
        return functions.decorator(self, function, options, functions.wrapped)

    @overload
    def cached_many(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached_many(
        self, /, **options: Unpack[Options]
    ) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...
    def cached_many(self, function: Any = None, /, **options: Any) -> Any:
        """Decorate a function that takes many keys and returns a mapping from them to values.

        Its first argument is the keys. Hits are read in one batch, and the function is called once
        with a list of the others. What it does not return is not stored, and not there.

        Args:
            function: The function, where there are no options.
            options: See `Options`; but `stale`, `stale_if_error`, `soft_timeout` and `errors` are
                for single calls. A `tags` callable and a `key` are given one key at a time.

        Raises:
            TypeError: As `cached`, or the function takes no positional argument.
            ConfigurationError: An option is unknown or out of range.
        """
        return functions.decorator(self, function, options, many_functions.wrapped)
