"""What is stored, for the eyes of somebody who has neither the application nor its keys."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

ENCRYPTED: Final = "(encrypted)"
_SEALED: Final = b"\xc1\x01"


class Value(NamedTuple):
    """A field's value as far as it can be read.

    Attributes:
        encoding: "json", "msgpack", "encrypted" or "unknown".
        size: Bytes, as stored.
        value: Made of what JSON has; None where it cannot be read.
    """

    encoding: str
    size: int
    value: Any


class AsStored:
    """A serializer that reads what any of ours wrote; tags of JSON stay as they are."""

    def dumps(self, _: Any, /) -> bytes:
        """Refuse: nothing is written here."""
        raise TypeError("the command line writes no session")

    def loads(self, data: bytes, /) -> Any:
        """Return the value of a device and an address, which is a pair."""
        found = read(data)
        return (ENCRYPTED, ENCRYPTED) if found.encoding == "encrypted" else found.value


def read(stored: bytes) -> Value:
    """Return what a field holds."""
    if stored.startswith(_SEALED):
        return Value("encrypted", len(stored), None)
    try:
        return Value("json", len(stored), json.loads(stored))
    except (ValueError, RecursionError):
        return _msgpack(stored)


def _msgpack(stored: bytes) -> Value:
    unknown = Value("unknown", len(stored), None)
    if find_spec("msgspec") is None:
        return unknown
    import msgspec

    try:
        value = msgspec.to_builtins(msgspec.msgpack.decode(stored), str_keys=True)
    except (ValueError, RecursionError, TypeError):
        return unknown
    return Value("msgpack", len(stored), value)
