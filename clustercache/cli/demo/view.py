"""How what is under load looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clustercache.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Group
    from rich.text import Text

    from clustercache.cli.demo.watch import Watch

_LEVELS = "▁▂▃▄▅▆▇"  # no full block: rows would touch
CHART = 14
CHART_NEEDS = 98
"""Columns of a terminal that can show the chart."""


def live_view(watch: Watch, now: float, *, chart: bool) -> Group:
    """Return a table of all gauges, and below it what happened."""
    from rich.console import Group

    top = max((rate for gauge in watch.gauges for rate in gauge.chart), default=0.0)
    name, where, remark = watch.headings
    numbers = ("reads/s", "writes/s", "errors", remark)
    headings = (name, where, "state", *numbers, *([f"last {CHART} s"] if chart else []))
    table = output.table(*headings, right=numbers, indent=watch.indent)
    table.columns[2].min_width = len("promoted")
    for gauge in watch.gauges:
        reads, writes = gauge.rates()
        table.add_row(
            " " * watch.indent + gauge.name,
            gauge.where,
            output.styled(gauge.state),
            f"{reads:,.0f}",
            f"{writes:,.0f}",
            output.coloured(str(gauge.errors), "red" if gauge.errors else ""),
            gauge.remark(now),
            *([output.coloured(_chart(gauge.chart, top), "cyan")] if chart else []),
        )
    return Group(table, "", *(event_line(event, watch.indent) for event in watch.events))


def _chart(rates: Iterable[float], top: float) -> str:
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[round(min(rate / top, 1) * steps) if top else 0] for rate in rates)


def event_line(event: tuple[float, str], indent: int) -> Text:
    """Return one thing that happened, with its time."""
    when, what = event
    return output.coloured(f"{' ' * indent}{when:+6.2f} s  ", "dim").append(what, "default not dim")


def plain_line(watch: Watch, now: float) -> Text:
    """Return the state, the reads and the writes per second of all gauges as one line."""
    parts = []
    for gauge in watch.gauges:
        reads, writes = gauge.rates()
        parts.append(f"{gauge.name:11} {gauge.state:8} {f'{reads:.0f}/{writes:.0f}':9}")
    line = f"{' ' * watch.indent}{now - watch.zero:+6.2f} s  {'  '.join(parts)}"
    return output.coloured(line.rstrip(), "")
