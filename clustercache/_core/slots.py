"""Where a key lives: one of 16384 slots, by CRC16 of the key or of its hash tag.

Source: Redis Cluster specification, "Key distribution model" and "Hash tags". The polynomial is
CRC16/XMODEM, which the standard library computes in C as `binascii.crc_hqx` with initial value 0.

The hash tag is what stands between the first ``{`` and the first ``}`` behind it, and it counts
only when it is not empty: ``{user1}:cart`` and ``{user1}:name`` share a slot, ``{}x`` is hashed
whole.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOT_COUNT = 16384


def encode(value: object, encoding: str = "utf-8", errors: str = "strict") -> bytes:
    """Return the bytes that go on the wire for one argument.

    Args:
        value: bytes, str, int, float, memoryview or bytearray.
        encoding: The codec for str.
        errors: The codec's error handler.

    Raises:
        TypeError: For any other type (None and bool included). The value is not named.
    """
    kind = type(value)
    if kind is bytes:
        return value  # type: ignore[return-value]
    if isinstance(value, str):
        return value.encode(encoding, errors)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"{kind.__name__} cannot be sent: convert it to bytes, str, int or float first"
        raise TypeError(msg)
    return repr(value).encode()


def hash_tag(key: bytes) -> bytes:
    """Return the part of `key` that is hashed: its hash tag, or all of it."""
    start = key.find(b"{") + 1
    if not start:
        return key
    end = key.find(b"}", start)
    return key[start:end] if end > start else key


def key_slot(key: bytes | str | memoryview) -> int:
    """Return the slot (0 to 16383) of `key`.

    Source: Redis Cluster specification, "Key distribution model".
    """
    if isinstance(key, str):
        key = key.encode()
    elif type(key) is memoryview:
        key = bytes(key)  # `in` looks for a number in it
    if b"{" in key:
        key = hash_tag(key)
    return crc_hqx(key, 0) & 0x3FFF


def key_slots(keys: Sequence[Any]) -> list[int]:
    """Return the slot of each key: `key_slot` for many, without a call for each.

    Raises:
        TypeError: A key is of a type that cannot be sent.
    """
    try:
        if "{" not in "".join(keys):
            return [crc_hqx(key.encode(), 0) & 0x3FFF for key in keys]
    except TypeError:
        pass  # not all of them are str
    return [key_slot(key if type(key) is str else encode(key)) for key in keys]
