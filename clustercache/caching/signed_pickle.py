"""Pickles that are read only if one of one's own keys has signed them.

    01 | HMAC-SHA256 of the rest, 32 bytes | pickle of protocol 5

Unpickling runs what the data says, so nothing is unpickled before its signature was verified; the
algorithm is not taken from the data. A signature does not say where a value belongs: who can
write to the store, but has no key, can put one signed value in another's place, and no more.
"""

from __future__ import annotations

import hmac
import pickle
from typing import TYPE_CHECKING, Any, Final

from clustercache._values.undecodable import Undecodable
from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORMAT: Final = b"\x01"
_PROTOCOL: Final = 5  # pinned, so that a newer Python writes what an older one reads
_MAC_BYTES: Final = 32
_SHORTEST: Final = 16
_PURPOSE: Final = b"clustercache.SignedPickle"


class SignedPickle:
    """Serialise any object that can be pickled, and read back only what was signed.

    Args:
        key: A secret of at least 16 bytes, text or bytes; ``secrets.token_bytes(32)`` makes one.
            What is used is derived from it for this purpose alone.
        fallbacks: Older keys that are still read, until what they have signed is gone.

    Raises:
        ConfigurationError: A key is too short.
    """

    __slots__ = ("_keys",)

    def __init__(self, key: bytes | str, *, fallbacks: Iterable[bytes | str] = ()) -> None:
        if isinstance(fallbacks, (bytes, str)):
            raise misuse("fallbacks= takes several keys; write fallbacks=(key,)")
        self._keys = tuple(map(_derived, (key, *fallbacks)))

    def dumps(self, value: Any, /) -> bytes:
        """Return a value as signed bytes, or raise what pickle does."""
        data = pickle.dumps(value, _PROTOCOL)
        return _FORMAT + _signature(self._keys[0], data) + data

    def loads(self, data: bytes, /) -> Any:
        """Return the value.

        Raises:
            Undecodable: None of the keys has signed it.
            Exception: What unpickling raises: a class of it is gone, for one.
        """
        start = len(_FORMAT) + _MAC_BYTES
        signature, body = data[len(_FORMAT) : start], data[start:]
        if not data.startswith(_FORMAT) or not any(
            hmac.compare_digest(signature, _signature(key, body)) for key in self._keys
        ):
            raise Undecodable("no key that is here has signed it")
        return pickle.loads(body)  # noqa: S301 - one of our own keys has signed it


def _derived(key: bytes | str) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < _SHORTEST:
        raise misuse(f"a key has to have at least {_SHORTEST} bytes")
    return hmac.digest(secret, _PURPOSE, "sha256")


def _signature(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
