"""How things look: calm tables, one bar for slots, JSON on one line."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import Console
    from rich.status import Status
    from rich.table import Table
    from rich.text import Text

SLOT_COUNT = 16384
_PIPE_WIDTH = 160  # a limit, not a size: what is read by programs should not be folded
STYLES = {
    "ok": "green",
    "primary": "bold",
    "replica": "",
    "error": "red",
    "failed": "red",
    "unreachable": "red",
    "down": "red",
    "warning": "yellow",
    "promoted": "yellow",
    "advice": "dim",
}


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a console that prints text as it stands."""
    from rich.console import Console

    made = Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def status(screen: Console, text: str) -> Status:
    """Return a line with a spinner, for the time that something takes."""
    return screen.status(text, spinner="line" if screen.options.ascii_only else "dots")


def table(*columns: str, right: Sequence[str] = (), indent: int = 0) -> Table:
    """Return an empty table without lines.

    Args:
        columns: The headings.
        right: Those of columns with numbers.
        indent: Spaces before the first column.
    """
    from rich.table import Table

    made = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        made.add_column(
            " " * indent * (index == 0) + name,
            justify="right" if name in right else "left",
            overflow="fold",
        )
    return made


def styled(word: str, indent: int = 0) -> Text:
    """Return a word, a state or a role say, in its colour."""
    from rich.text import Text

    return Text(" " * indent).append(word, STYLES.get(word, ""))


def coloured(text: str, style: str) -> Text:
    """Return text in a style, as rich names them."""
    from rich.text import Text

    return Text(text, style)


def slot_bar(screen: Console, ranges: Iterable[tuple[int, int]]) -> Text:
    """Return a line that stands for all slots, with these ranges (both ends included) heavy."""
    from rich.text import Text

    width = max(min(32, screen.width - 60), 8)
    owned = [0] * width
    for start, end in ranges:
        for cell in range(start * width // SLOT_COUNT, end * width // SLOT_COUNT + 1):
            first, after = -(-cell * SLOT_COUNT // width), -(-(cell + 1) * SLOT_COUNT // width)
            owned[cell] += min(end + 1, after) - max(start, first)
    heavy, light = ("#", "-") if screen.options.ascii_only else ("━", "─")
    half = SLOT_COUNT / width / 2
    bar = Text()
    for count in owned:
        bar.append(*((heavy, "cyan") if count >= half else (light, "dim")))
    return bar


def duration(seconds: float) -> str:
    """Return a time for people: milliseconds below one second."""
    if seconds < 0.01:
        return f"{seconds * 1000:.2f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def size(count: int | None) -> str:
    """Return a number of bytes for people; "-" where it is unknown."""
    if count is None:
        return "-"
    if count < 1 << 20:
        return f"{count / 1024:.0f} kB"
    return f"{count / (1 << 20):.1f} MB" if count < 1 << 30 else f"{count / (1 << 30):.1f} GB"


def spans(ranges: Iterable[object], most: int = 4) -> str:
    """Return slot ranges as text, cut off after `most` of them."""
    parts = [str(part) for part in ranges]
    more = f" +{len(parts) - most}" if len(parts) > most else ""
    return " ".join(parts[:most]) + more if parts else "-"


def plain(text: str) -> str:
    """Return text that users chose as it may be shown: nothing in it can drive a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def moment(when: datetime) -> str:
    """Return an aware datetime for people: UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
