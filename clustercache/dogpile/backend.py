"""What dogpile.cache asks for a region's values."""

from __future__ import annotations

import logging
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dogpile.cache.api import NO_VALUE, BytesBackend, CantDeserializeException

from clustercache.caching.adapters import any_object, cache_at
from clustercache.caching.settings import NAMES
from clustercache.config import ClusterConfig
from clustercache.dogpile.mutex import Mutex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dogpile.cache.api import CacheMutex, KeyType, SerializedReturnType

    from clustercache.caching.cache import Cache

_log = logging.getLogger("clustercache.cache")
_KNOWN: Final = NAMES | {field.name for field in fields(ClusterConfig)} | {"near", "ssl"}
_OTHERWISE: Final = "the region a serializer and a deserializer of its own"


class Verbatim:
    """A serializer for what is bytes already."""

    def dumps(self, value: bytes, /) -> bytes:
        """Return it."""
        return value

    def loads(self, data: bytes, /) -> bytes:
        """Return it."""
        return data


class ClusterCacheBackend(BytesBackend):
    """Keep a region's values in a cluster, and let one process at a time make each.

    Reads and writes never fail because of the servers, unless `on_error` is "raise": the region
    makes the value then. Deletes raise unless they are confirmed.

    Attributes:
        cache: The `Cache` underneath, for what dogpile.cache does not know.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Open no connection yet.

        Args:
            arguments: ``url`` as `Cache.from_url` takes it, or a `Cluster`; ``signing_key``, a
                secret that signs values, unless the region has a serializer of its own, and older
                ones in ``signing_key_fallbacks``; ``distributed_lock``, whether processes wait for
                each other (True); ``lock_timeout``, the seconds after which a lock whose holder
                died is free (30); and the options of `Cache.from_url`, where ``ttl`` should be
                longer than the region's expiration time, and is for ever by default. Others are
                ignored, as dogpile.cache wants it, and logged.

        Raises:
            ConfigurationError: Something in it is missing or out of range.
        """
        given = dict(arguments)
        self._keys = given.pop("signing_key", None), given.pop("signing_key_fallbacks", ())
        self._distributed = given.pop("distributed_lock", True)
        self._lock_timeout = float(given.pop("lock_timeout", 30))
        url = given.pop("url", None)
        options = {name: value for name, value in given.items() if _is_known(name)}
        if ignored := given.keys() - options.keys():
            _log.warning("arguments_ignored names=%s", ",".join(sorted(ignored)))
        options = {"ttl": None} | options | {"serializer": Verbatim()}
        self.cache: Cache = cache_at(url, **options)

    # A region with a serializer of its own never looks at these.

    @property
    def serializer(self) -> Callable[[Any], bytes]:  # type: ignore[override]
        """Return what signs a value's pickle.

        Raises:
            ConfigurationError: There is no key for it.
        """
        return any_object(*self._keys, _OTHERWISE).dumps

    @property
    def deserializer(self) -> Callable[[bytes], Any]:  # type: ignore[override]
        """Return what reads a signed pickle; what it cannot read is made again."""
        return partial(_read, any_object(*self._keys, _OTHERWISE).loads)

    # Locks ------------------------------------------------------------------------------------

    def has_lock_timeout(self) -> bool:
        """Tell whether a lock may be free before its holder releases it."""
        return bool(self._distributed)

    def get_mutex(self, key: KeyType) -> CacheMutex | None:
        """Return the lock that whoever makes a value holds; None is one of the process."""
        return Mutex(self.cache, key, self._lock_timeout) if self._distributed else None

    # Values -----------------------------------------------------------------------------------

    def get_serialized(self, key: KeyType) -> SerializedReturnType:
        """Return a value, or NO_VALUE."""
        found: SerializedReturnType = self.cache.get(key, NO_VALUE)
        return found

    def get_serialized_multi(self, keys: Iterable[KeyType]) -> Sequence[SerializedReturnType]:
        """Return values in the keys' order, by a batch to each node."""
        wanted = list(keys)
        found = self.cache.get_many(wanted)
        return [found.get(key, NO_VALUE) for key in wanted]

    def set_serialized(self, key: KeyType, value: bytes) -> None:
        """Store a value."""
        self.cache.set(key, value)

    def set_serialized_multi(self, mapping: Mapping[KeyType, bytes]) -> None:
        """Store values, by a batch to each node."""
        self.cache.set_many(mapping)

    def delete(self, key: KeyType) -> None:
        """Delete a value, if there is one.

        Raises:
            RedisError: The server did not confirm it.
        """
        self.cache.delete(key)

    def delete_multi(self, keys: Iterable[KeyType]) -> None:
        """Delete the values that there are.

        Raises:
            RedisError: The servers did not confirm it.
        """
        self.cache.delete_many(keys)


def _is_known(name: str) -> bool:
    return name in _KNOWN or name.startswith("ssl_")


def _read(loads: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return loads(data)
    except Exception:  # noqa: BLE001 - what cannot be read is a miss, whatever unpickling raised
        # Not raised from that error, for those quote what they could not read.
        raise CantDeserializeException("the value cannot be read") from None
