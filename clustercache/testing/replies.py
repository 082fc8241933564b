"""What a server can say, as values: each reply is kept in both of its spellings.

RESP2 and RESP3 differ in how they write null, maps, sets, doubles, booleans and pushes. A script
does not want to care which of them a connection has agreed on, so a reply carries both, and the
server picks at the moment of sending.

Source: the Redis serialization protocol specification (RESP2 and RESP3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias, Union

Plain: TypeAlias = Union[
    "Reply",
    bytes,
    str,
    float,
    Sequence["Plain"],
    AbstractSet["Plain"],
    Mapping["Plain", "Plain"],
    None,
]
"""What `reply` turns into a `Reply`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply in its two spellings."""

    resp2: bytes
    resp3: bytes

    def encode(self, protocol: int) -> bytes:
        """Return the bytes for a connection that speaks the given RESP version, 2 or 3."""
        return self.resp3 if protocol >= 3 else self.resp2


def reply(value: Plain) -> Reply:
    r"""Turn a plain Python value into the reply that a server would give for it.

    bytes and str become bulk strings, int an integer, None null, a sequence an array, a dict a map,
    a set a set, float a double and bool a boolean; a `Reply` stays as it is.

    Example:
        >>> reply([b"a", 1, None]).encode(2)
        b'*3\r\n$1\r\na\r\n:1\r\n$-1\r\n'
    """
    if isinstance(value, Reply):
        return value
    if value is None:
        return null()
    if isinstance(value, bool):
        return Reply(b":%d\r\n" % value, b"#t\r\n" if value else b"#f\r\n")
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        text = repr(value).encode()
        return Reply(bulk(text).resp2, b",%b\r\n" % text)
    if isinstance(value, (bytes, str)):
        return bulk(value)
    if isinstance(value, Mapping):
        flat = [item for pair in value.items() for item in pair]
        return _aggregate(b"%", flat, count=len(value))
    if isinstance(value, AbstractSet):
        return _aggregate(b"~", list(value))
    return array(*value)


def bulk(value: bytes | str) -> Reply:
    """Make a bulk string."""
    data = value.encode() if isinstance(value, str) else value
    return _same(b"$%d\r\n%b\r\n" % (len(data), data))


def simple(text: str) -> Reply:
    """Make a simple string, as in `+OK`."""
    return _same(b"+%b\r\n" % _line(text))


def error(text: str) -> Reply:
    """Make an error, its prefix included: `error("MOVED 42 127.0.0.1:7001")`."""
    return _same(b"-%b\r\n" % _line(text))


def integer(value: int) -> Reply:
    """Make an integer."""
    return _same(b":%d\r\n" % value)


def null() -> Reply:
    """Make null: a missing bulk string in RESP2, a type of its own in RESP3."""
    return Reply(b"$-1\r\n", b"_\r\n")


def array(*items: Plain) -> Reply:
    """Make an array of replies or plain values."""
    return _aggregate(b"*", items)


def push(*items: Plain) -> Reply:
    """Make a push message; on a RESP2 connection it is an ordinary array, as servers send it."""
    return _aggregate(b">", items)


def verbatim(text: str) -> Reply:
    """Make a text as CLUSTER NODES and INFO send it: verbatim in RESP3, a bulk string in RESP2."""
    data = text.encode()
    return Reply(bulk(data).resp2, b"=%d\r\ntxt:%b\r\n" % (len(data) + 4, data))


def raw(data: bytes) -> Reply:
    """Make a reply of these very bytes, whole or not, right or wrong."""
    return _same(data)


def _same(data: bytes) -> Reply:
    return Reply(data, data)


def _line(text: str) -> bytes:
    if "\r" in text or "\n" in text:
        raise ValueError("a simple string or error is one line: use raw() to break that rule")
    return text.encode()


def _aggregate(sign: bytes, items: Sequence[Plain], *, count: int | None = None) -> Reply:
    parts = [reply(item) for item in items]
    return Reply(
        b"*%d\r\n%b" % (len(parts), b"".join(part.resp2 for part in parts)),
        b"%b%d\r\n%b"
        % (sign, len(parts) if count is None else count, b"".join(part.resp3 for part in parts)),
    )
