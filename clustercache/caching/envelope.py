"""Cached values as they are stored: a head that is read at once, and a body that may wait.

    CC 01 | packing, 1 | writer, 4 | schema, 4 | fresh until, 8 | cost, 4 | tags, 2 | tag ... | body
    tag:    length of its name, 2 | length of its token, 1 | name | token

Numbers are big-endian. Whether a value is stale, or one of its tags was invalidated, is seen from
the head alone. A value of another schema or serializer is not read: one serializer's bytes may
mean something else to another (to MessagePack, the JSON text ``5`` is 53).

A 64-bit integer's body is its decimal digits, padded to a fixed width, so that a script can count
with it. The highest bit of the packing says that the body is of an exception.
"""

from __future__ import annotations

from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from clustercache._values.undecodable import Undecodable
from clustercache.caching.compression import Packing, compress, decompress
from clustercache.caching.names import misuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clustercache._values.serializers import Serializer

_MAGIC: Final = b"\xcc\x01"
_HEAD: Final = Struct(">2sBIIQIH")
_PLAIN_TAG: Final = b"\0\0\x10"
"""How a tag without a name begins whose token has 16 bytes."""

_UNTIL: Final = 11
"""Where the moment is in the head."""

_TAG: Final = Struct(">HB")
DIGITS: Final = 3
"""The packing of an integer."""

DIGITS_WIDTH: Final = 20
_RAISED: Final = 0x80
_LARGEST: Final = 1 << 63
_LONGEST: Final = (1 << 32) - 1
_MANY: Final = 0xFFFF


class Envelope(NamedTuple):
    """What is stored, with the head read and the body not."""

    fresh_until: int | None
    """Milliseconds since 1970, or None for ever."""
    cost: int
    """Microseconds that it took to compute; 0 if that is unknown."""
    tags: dict[str, bytes]
    """The tags' tokens as they were before the value was computed."""
    packing: int
    body: bytes

    @property
    def raised(self) -> bool:
        """Whether it is of an exception."""
        return bool(self.packing & _RAISED)


class Envelopes:
    """Write and read what is stored; one serves all threads.

    Args:
        serializer: Between values and bytes. It goes by its class's name.
        schema: A number from 0 to 4294967295 to change when the values change their shape.
        compress_above: Bytes from which on a value is compressed; None for never.
        max_bytes: What an unpacked value may have, in bytes; a larger one is not read.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    __slots__ = ("_above", "_limit", "_schema", "_serializer", "_writer")

    def __init__(
        self,
        serializer: Serializer,
        *,
        schema: int = 0,
        compress_above: int | None = 1024,
        max_bytes: int = 64 << 20,
    ) -> None:
        if not 0 <= schema <= _LONGEST:
            raise misuse(f"schema={schema!r} has to be from 0 to {_LONGEST}")
        if max_bytes < 1 or (compress_above is not None and compress_above < 0):
            raise misuse("max_bytes has to be positive, and compress_above 0 or more")
        self._serializer = serializer
        self._schema = schema
        self._above = max_bytes if compress_above is None else compress_above
        self._limit = max_bytes
        self._writer = crc32(type(serializer).__qualname__.encode())

    def seal(
        self,
        value: Any,
        *,
        fresh_until: int | None = None,
        cost: int = 0,
        tags: Mapping[str, bytes] | None = None,
        raised: bool = False,
    ) -> bytes:
        """Return what is to be stored for a value.

        Args:
            value: The value.
            fresh_until: When it ceases to be fresh, in milliseconds since 1970; None for never.
            cost: Microseconds that it took to compute.
            tags: Its tags' tokens, as they were before that.
            raised: Whether the value is of an exception.

        Raises:
            ValueError: It is larger than `max_bytes`, or has too many tags or too long ones.
            Exception: What the serializer raises.
        """
        if type(value) is int and -_LARGEST <= value < _LARGEST:
            return self._head(DIGITS, fresh_until, cost, tags or {}) + b"%*d" % (
                DIGITS_WIDTH,
                value,
            )
        body = self._serializer.dumps(value)
        if not isinstance(body, bytes):
            raise TypeError(f"{type(self._serializer).__qualname__}.dumps() has to return bytes")
        if len(body) > self._limit:
            raise ValueError(f"the value has {len(body)} bytes, more than max_bytes={self._limit}")
        packing: int = Packing.PLAIN
        if len(body) > self._above:
            packing, body = compress(body)
        if raised:
            packing |= _RAISED
        return self._head(packing, fresh_until, cost, tags or {}) + body

    def open(self, stored: bytes) -> Envelope:
        """Return what was stored, its body unread.

        Raises:
            Undecodable: It is no envelope, or of another schema or serializer.
        """
        facts = _facts(stored) if stored.startswith(_MAGIC) else None
        if facts is None:
            raise Undecodable("it is no envelope, or a broken one")
        writer, schema, envelope = facts
        if writer != self._writer or schema != self._schema:
            raise Undecodable("it was written with another serializer or schema")
        return envelope

    def value(self, envelope: Envelope) -> Any:
        """Return the value in an envelope.

        Raises:
            Undecodable: The serializer cannot read it, whatever it raised, or it is too large.
        """
        if envelope.packing == DIGITS:
            return _integer(envelope.body)
        body, packing = envelope.body, envelope.packing & ~_RAISED
        if packing != Packing.PLAIN:
            body = decompress(packing, body, self._limit)
        try:
            return self._serializer.loads(body)
        except Undecodable:
            raise
        except Exception as failure:  # noqa: BLE001 - serializers may be anybody's
            kind = type(failure).__qualname__
        # Not raised from that error, for those quote what they could not read.
        raise Undecodable(f"{type(self._serializer).__qualname__} cannot read it: {kind}")

    def _head(
        self, packing: int, fresh_until: int | None, cost: int, tags: Mapping[str, bytes]
    ) -> bytes:
        # A moment before 1970 is as past as its first millisecond, and 0 stands for never.
        until = 0 if fresh_until is None else max(1, fresh_until)
        cost = max(0, min(cost, _LONGEST))
        parts = [b""]
        for name, token in tags.items():
            encoded = name.encode("utf-8", "surrogatepass")
            if len(encoded) > _MANY or len(token) > 0xFF:
                raise ValueError(f"a tag may have {_MANY} bytes, and its token 255")
            parts += (_TAG.pack(len(encoded), len(token)), encoded, token)
        if len(tags) > _MANY:
            raise ValueError(f"a value may have {_MANY} tags")
        parts[0] = _HEAD.pack(_MAGIC, packing, self._writer, self._schema, until, cost, len(tags))
        return b"".join(parts)


def until_changed(stored: bytes, fresh_until: int | None) -> bytes:
    """Return an envelope that is the same but for when it ceases to be fresh."""
    until = 0 if fresh_until is None else max(1, fresh_until)
    return stored[:_UNTIL] + until.to_bytes(8, "big") + stored[_UNTIL + 8 :]


def _integer(body: bytes) -> int:
    if len(body) != DIGITS_WIDTH:
        raise Undecodable("the integer has another width")
    try:
        return int(body)
    except ValueError:
        raise Undecodable("the integer is none") from None


def _facts(stored: bytes) -> tuple[int, int, Envelope] | None:
    """Return writer, schema and the rest, or None where they are cut short or no text."""
    tags: dict[str, bytes] = {}
    at = _HEAD.size
    try:
        _, packing, writer, schema, until, cost, count = _HEAD.unpack_from(stored)
        if stored.startswith(_PLAIN_TAG, at):  # the first one, mostly the only one
            tags[""] = stored[at + 3 : at + 19]
            at, count = at + 19, count - 1
        for _ in range(count):
            name_size, token_size = _TAG.unpack_from(stored, at)
            start = at + _TAG.size
            at = start + name_size + token_size
            name = stored[start : start + name_size].decode("utf-8", "surrogatepass")
            tags[name] = stored[start + name_size : at]
    except (error, UnicodeDecodeError):
        return None
    if at > len(stored):
        return None
    return writer, schema, Envelope(until or None, cost, tags, packing, stored[at:])
