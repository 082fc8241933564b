"""From a session's value to what is stored, in two steps, and back.

    value --encode--> plain --seal--> stored        stored --unseal--> plain --decode--> value

Plain bytes are what changes are found by: sealing the same bytes twice gives two results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._values.undecodable import Undecodable

if TYPE_CHECKING:
    from clustercache._values.serializers import Serializer
    from clustercache.sessions.keyring import KeyRing

__all__ = ["Codec", "Undecodable"]


class Codec:
    """Write and read the fields of sessions.

    Args:
        serializer: Between values and bytes.
        keys: Encrypts them; None leaves them as they are.
    """

    __slots__ = ("_keys", "_serializer")

    def __init__(self, serializer: Serializer, keys: KeyRing | None = None) -> None:
        self._serializer = serializer
        self._keys = keys

    def encode(self, value: Any) -> bytes:
        """Return a value's plain bytes, or raise what the serializer does."""
        plain = self._serializer.dumps(value)
        if not isinstance(plain, bytes):
            raise TypeError(f"{type(self._serializer).__qualname__}.dumps() has to return bytes")
        return plain

    def seal(self, selector: str, name: str, plain: bytes) -> bytes:
        """Return what is stored for plain bytes, in that field of that session."""
        return plain if self._keys is None else self._keys.seal(selector, name, plain)

    def unseal(self, selector: str, name: str, stored: bytes) -> bytes:
        """Return the plain bytes.

        Raises:
            Undecodable: They were not written there, or not with one of the keys.
        """
        return stored if self._keys is None else self._keys.unseal(selector, name, stored)

    def decode(self, plain: bytes) -> Any:
        """Return the value.

        Raises:
            Undecodable: The serializer cannot read it, whatever it raised.
        """
        try:
            return self._serializer.loads(plain)
        except Undecodable:
            raise
        except Exception as error:  # noqa: BLE001 - serializers may be anybody's
            kind = type(error).__qualname__
        # Not raised from that error, for those quote what they could not read.
        raise Undecodable(f"{type(self._serializer).__qualname__} cannot read it: {kind}")
