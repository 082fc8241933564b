"""Compression of values: zstd where it is there, zlib otherwise, both read within a bound.

Python has zstd from 3.14 on; before, ``pip install 'clustercache[zstd]'`` brings the same module.
A process without it misses what others wrote with it, so give it to all of them or to none.
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from functools import cache
from importlib import import_module
from typing import Any, Final

from clustercache._values.undecodable import Undecodable

_ZLIB_LEVEL: Final = 1  # a cache's time is worth more than its bytes

# What our own levels write needs 2 MiB of history. A frame may ask for 2 GiB before its first byte.
_WINDOW_LOG: Final = 23


class Packing(IntEnum):
    """How a body is packed; the numbers are stored."""

    PLAIN = 0
    ZSTD = 1
    ZLIB = 2


def compress(data: bytes) -> tuple[Packing, bytes]:
    """Return the smaller of what was given and what compression makes of it."""
    zstd = _zstd()
    if zstd is None:
        packing, packed = Packing.ZLIB, zlib.compress(data, _ZLIB_LEVEL)
    else:
        packing, packed = Packing.ZSTD, zstd.compress(data)
    return (packing, packed) if len(packed) < len(data) else (Packing.PLAIN, data)


def decompress(packing: int, packed: bytes, limit: int) -> bytes:
    """Return what was compressed.

    Args:
        packing: How.
        packed: What `compress` returned.
        limit: Bytes that the result may have; no more are made on the way.

    Raises:
        Undecodable: It is larger, broken, or packed in a way that is not known here.
    """
    if packing == Packing.PLAIN:
        return packed
    unpacker = _unpacker(packing)
    try:
        data: bytes = unpacker.decompress(packed, limit + 1)
    except Exception:  # noqa: BLE001 - three libraries, each with an error of its own
        data = b""
    if len(data) > limit:
        raise Undecodable(f"it is larger than {limit} bytes when unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise Undecodable("what is packed is broken")
    return data


def _unpacker(packing: int) -> Any:
    if packing == Packing.ZLIB:
        return zlib.decompressobj()
    zstd = _zstd()
    if packing != Packing.ZSTD or zstd is None:
        raise Undecodable("it is packed in a way that is not known here")
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})


@cache
def _zstd() -> Any:
    """Return the module that has zstd, or None."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
