"""What the adapters for other libraries' caches have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clustercache._sync.cluster import Cluster
from clustercache.caching.cache import Cache
from clustercache.caching.names import misuse
from clustercache.caching.near import NearCache
from clustercache.caching.signed_pickle import SignedPickle

if TYPE_CHECKING:
    from collections.abc import Iterable


def cache_at(
    at: str | Iterable[str] | Cluster | None, *, near: Any = None, **options: Any
) -> Cache:
    """Return a cache at a URL, or at a client that others use, too.

    Args:
        at: As `Cache` or `Cache.from_url` takes it.
        near: As `near_of` takes it.
        options: Those of `Cache` or `Cache.from_url`.

    Raises:
        ConfigurationError: Something in it is missing, unknown or out of range.
    """
    if not at:
        raise misuse("a cache needs url=: where its servers are")
    if isinstance(at, Cluster):
        return Cache(at, near=near_of(near), **options)
    return Cache.from_url(at, near=near_of(near), **options)


def near_of(given: Any) -> NearCache | None:
    """Return the near cache that a configuration describes, if any.

    Args:
        given: One that is made already, how many entries one is to keep, its options, or True for
            those that it has by default; else there is none.

    Raises:
        ConfigurationError: Something in it is unknown or out of range.
    """
    if isinstance(given, NearCache):
        return given
    if given is None or given is False:
        return None
    if given is True:
        return NearCache()
    if isinstance(given, int):
        return NearCache(given)
    if not isinstance(given, Mapping):
        raise misuse("near is a number of entries, the options of a NearCache, or one of these")
    try:
        return NearCache(**given)
    except TypeError as error:
        raise misuse(f"near: {error}") from None


def any_object(
    key: bytes | str | None, fallbacks: Iterable[bytes | str], otherwise: str
) -> SignedPickle:
    """Return the serializer for a contract that any object can be cached.

    Args:
        key: A secret; see `SignedPickle`.
        fallbacks: Older ones.
        otherwise: What can be given in a key's place.

    Raises:
        ConfigurationError: There is no key, or one is too short.
    """
    if not key:
        raise misuse(
            "any object can be cached here, which takes pickle, and a pickle is read only if one's"
            f" own key has signed it: give signing_key=, or {otherwise}"
        )
    return SignedPickle(key, fallbacks=fallbacks)
