"""Line charts as SVG, side by side, without anything to install."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 96, 56, 58  # around the plot: axis, names of lines, title, ticks
_COLOURS = ("#1d4ed8", "#b45309", "#047857", "#a21caf")
_DASHES = ("", "7 4", "2 4", "9 3 2 3")
_INK, _PALE = "#1f2937", "#d1d5db"
_APART = 15  # between the names of two lines
_STEPS = 4


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel.

    Attributes:
        title: What it shows.
        across: What the ticks of the axis below are.
        ticks: Their names, at equal distances.
        lines: The values of each line by its name, one for each tick.
        top: The upper end of the axis on the left, which begins at 0.
        unit: Follows its numbers.
    """

    title: str
    across: str
    ticks: tuple[str, ...]
    lines: dict[str, list[float]]
    top: float
    unit: str = ""


def drawn(charts, caption):
    """Return the SVG of charts in a row, above a caption."""
    width, height = WIDTH * len(charts), HEIGHT + 30
    look = f'font-family="system-ui, sans-serif" font-size="12" fill="{_INK}" role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {look}>',
        f"<title>{escape('; '.join(chart.title for chart in charts))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, chart in enumerate(charts):
        parts += [f'<g transform="translate({place * WIDTH} 0)">', *_panel(chart), "</g>"]
    parts += [_text(width / 2, HEIGHT + 14, caption, anchor="middle", size=11), "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(chart):
    yield _text(_LEFT - 40, 26, chart.title, size=14, weight=600)
    yield _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 14, chart.across, anchor="middle")
    for step in range(_STEPS + 1):
        value = chart.top * step / _STEPS
        y = _y(chart, value)
        yield _line(_LEFT, y, WIDTH - _RIGHT, y, _PALE)
        yield _text(_LEFT - 8, y + 4, f"{value:,.10g}{chart.unit}", anchor="end")
    for at, tick in enumerate(chart.ticks):
        yield _text(_x(chart, at), HEIGHT - _BOTTOM + 20, tick, anchor="middle")
    heights = _apart({name: _y(chart, values[-1]) for name, values in chart.lines.items()})
    for order, (name, values) in enumerate(chart.lines.items()):
        colour, dash = _COLOURS[order % len(_COLOURS)], _DASHES[order % len(_DASHES)]
        points = [(_x(chart, at), _y(chart, value)) for at, value in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
        )
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        yield _text(WIDTH - _RIGHT + 8, heights[name] + 4, name, colour=colour)


def _x(chart, at):
    room = WIDTH - _LEFT - _RIGHT
    return _LEFT + room * at / max(len(chart.ticks) - 1, 1)


def _y(chart, value):
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / chart.top


def _apart(heights):
    """Return where the names of lines stand: beside their ends, but not on each other."""
    placed = dict(sorted(heights.items(), key=lambda item: item[1]))
    for upper, lower in pairwise(placed):
        placed[lower] = max(placed[lower], placed[upper] + _APART)
    lowest = HEIGHT - _BOTTOM
    for name in reversed(placed):  # those that were pushed out of the plot push the others back
        placed[name] = lowest = min(placed[name], lowest)
        lowest -= _APART
    return placed


def _line(x, y, x2, y2, colour):
    return f'<line x1="{x}" y1="{y:.1f}" x2="{x2}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x, y, text, *, anchor="start", size=12, weight=400, colour=_INK):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
    )
