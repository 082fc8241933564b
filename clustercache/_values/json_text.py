"""JSON text as values are written and read: compact, exact, and of bounded depth.

Text is UTF-8 that lets lone surrogates pass: escaped, a pair of them would be read as one
character. The depth is looked at before the parser is, for a parser recurses on the C stack.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 100
"""Levels of JSON; a tag takes one or two of them."""

# A string that does not end runs to the end, so that no quote is looked at twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_OTHERS: Final = bytes(byte for byte in range(256) if byte not in _STEPS)


def too_deep(data: bytes) -> bool:
    """Tell whether JSON text is nested deeper than `MAX_DEPTH`."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", data).translate(None, _OTHERS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH


def to_bytes(text: str) -> bytes:
    """Return text as UTF-8 that may hold lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Return what `to_bytes` was given."""
    return data.decode("utf-8", "surrogatepass")
