"""Figures as people read them, and tables of plain text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# From this many seconds on; what is divided by; the unit. The largest is the first.
_TIMES: Final = (
    (172_800, 86_400, "d"),
    (7_200, 3_600, "h"),
    (120, 60, "min"),
    (0.9995, 1, "s"),
    (0.0009995, 1e-3, "ms"),
    (0, 1e-6, "µs"),
)
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def counted(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def share(part: float | None) -> str:
    """Return a part of one as a percentage, "-" for None; only all of it is 100%."""
    return "-" if part is None else f"{math.floor(part * 1000 + 1e-6) / 10:.1f}%"


def in_seconds(seconds: float) -> str:
    """Return a time in the unit that suits it, with three digits or all of its whole ones."""
    if not seconds:
        return "0 s"
    for least, one, unit in _TIMES:
        if seconds >= least:
            return f"{_digits(seconds / one)} {unit}"
    raise ValueError(seconds)


def in_bytes(size: int) -> str:
    """Return a size in the unit that suits it."""
    power = min((max(size, 1).bit_length() - 1) // 10, len(_SIZES) - 1)
    return f"{_digits(size / (1 << 10 * power)) if power else size} {_SIZES[power]}"


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 99.95 else f"{number:.3g}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
