"""The table of one work: a line for each contender, and what they are compared by."""

from __future__ import annotations

from tests.bench.contenders import FLOOR
from tests.bench.sites import COOKIE
from tests.bench.sites import OURS as OUR_SITES

OURS = "clustercache"


def table(work, rows):
    """Return the lines of Markdown."""
    columns = _COLUMNS[work.part]
    head = [_HEADS[work.part], *(title for title, _ in columns)]
    lines = [_line(head), "|---" * len(head) + "|"]
    lines += [_line([name, *_cells(row, rows, columns)]) for name, row in rows.items()]
    if work.goal is not None:
        below = "-" if work.needs == "page" else "below 1.00"
        lines.append(_line([f"*goal for {OURS}*", "", f"{work.goal:.2f}", below, "", ""]))
    return lines


def _line(cells):
    return f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|"


def _cells(row, rows, columns):
    if row.problem or not row.cpu:
        why = " ".join((row.problem or "not measured").split()).replace("|", "\\|")
        return [f"{row.kind}: {why}", *[""] * (len(columns) - 1)]
    return [cell(row, rows) for _, cell in columns]


def cheapest_peer(rows):
    """Return the row of the cheapest sessions at a server that are not ours, or None."""
    peers = [
        row
        for name, row in rows.items()
        if name not in {COOKIE, *OUR_SITES} and row.cpu and not row.problem
    ]
    return min(peers, key=lambda row: row.median("cpu"), default=None)


def _figure(clock):
    def cell(row, _):
        times = getattr(row, clock)
        low, middle, high = (_short(time) for time in (min(times), row.median(clock), max(times)))
        return f"{middle} ({low}-{high})"

    return cell


def _short(time):
    return f"{time:.2f}" if time < 10 else f"{time:.1f}"


def _multiple(base_of, clock):
    def cell(row, rows):
        base = base_of(rows)
        if base is None or base.problem or not base.cpu:
            return "-"
        return f"{row.median(clock) / base.median(clock):.2f}"

    return cell


def _named(name):
    return lambda rows: rows.get(name)


def _per_second(row, _):
    return f"{1e6 / row.median('wall'):,.0f}"


def _first(rows):
    return next(iter(rows.values()), None)


_HEADS = {"clients": "client", "sessions": "sessions", "caching": "cache"}
_COLUMNS = {
    "clients": [
        ("CPU, µs", _figure("cpu")),
        ("floor = 1", _multiple(_named(FLOOR), "cpu")),
        ("clustercache = 1", _multiple(_named(OURS), "cpu")),
        ("wall, µs", _figure("wall")),
        ("floor = 1", _multiple(_named(FLOOR), "wall")),
    ],
    "sessions": [
        ("CPU, µs", _figure("cpu")),
        (f"{COOKIE} = 1", _multiple(_named(COOKIE), "cpu")),
        ("cheapest peer = 1", _multiple(cheapest_peer, "cpu")),
        ("wall, µs", _figure("wall")),
        ("requests/s", _per_second),
    ],
    "caching": [
        ("CPU, µs", _figure("cpu")),
        ("first = 1", _multiple(_first, "cpu")),
        ("clustercache = 1", _multiple(_named(OURS), "cpu")),
        ("wall, µs", _figure("wall")),
        ("a second", _per_second),
    ],
}
