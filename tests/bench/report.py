"""The measurements as a page of Markdown, and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict
from pathlib import Path

from tests.bench.contenders import FLOOR

OURS = "clustercache"
_INTRO = """\
# Benchmarks

Absolute times move from machine to machine, and on one machine from hour to hour. **Only the ratios
of one run count**, and small differences between them do not where the spreads overlap.

The floor is no client: blocking sockets without any timeout, hiredis to pack and to parse, and a
slot table that is never refreshed. No Python client can beat it. In asyncio the floor is one
connection to each primary, a future for each command, and one write to a node for the commands of a
loop's tick; what is measured on uvloop has its floor on uvloop.

Each contender runs in a process of its own and as its constructor makes it; they take turns, round
by round. CPU is the user and system time of the contender's process with all its threads, the
servers' not included. Shown are medians over the rounds, with the lowest and the highest in
brackets; a multiple is the ratio of two medians.
"""
_HEAD = (
    "| client | CPU, µs | floor = 1 | clustercache = 1 | wall, µs | floor = 1 |\n"
    "|---|---|---|---|---|---|"
)


def versions(packages):
    """Return the installed versions in words."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "from the working tree" if package == OURS else "not installed"
    return found


def cpu_model():
    """Return what the machine calls its CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or platform.machine()


def environment(contenders, server, cpus):
    """Return what the figures depend on."""
    packages = {package for contender in contenders for package in contender.packages}
    return {
        "cpu": f"{cpu_model()}, {os.cpu_count()} CPUs",
        "pinning": (
            f"servers on CPU {cpus[0]}, clients on CPU {cpus[1]}" if cpus else "none was possible"
        ),
        "load": f"{os.getloadavg()[0]:.2f} before the run (more than 0.5: something else ran, too)",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "server": f"{server.flavour} {'.'.join(map(str, server.version))}",
        "packages": versions(sorted(packages)),
    }


def page(results, facts, command, when):
    """Return the page.

    Args:
        results: Pairs of a work and its rows by contender.
        facts: Of `environment`.
        command: What measured.
        when: A date.
    """
    found = [f"{name} {version}" for name, version in facts["packages"].items()]
    parts = [
        _INTRO,
        f"Measured on {when:%Y-%m-%d} by\n\n    {command}\n",
        f"- cluster: 3 primaries and 3 replicas on loopback, {facts['server']}",
        f"- CPU: {facts['cpu']}; {facts['pinning']}",
        f"- load average: {facts['load']}",
        f"- {facts['system']}, {facts['python']}",
        f"- {', '.join(found)}",
        "- 1,000 keys in all slots, 100-byte values, read and written as str and bytes",
    ]
    for work, rows in results:
        parts += ["", f"## {work.title}", "", f"Per {work.unit}.", "", _HEAD]
        parts += [_line(name, row, rows) for name, row in rows.items()]
    return "\n".join(parts) + "\n"


def _line(name, row, rows):
    if row.problem or not row.cpu:
        why = " ".join((row.problem or "not measured").split()).replace("|", "\\|")
        return f"| {name} | {row.kind}: {why} | | | | |"
    cells = [
        _figure(row, "cpu"),
        _multiple(row, rows.get(FLOOR), "cpu"),
        _multiple(row, rows.get(OURS), "cpu"),
        _figure(row, "wall"),
        _multiple(row, rows.get(FLOOR), "wall"),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _figure(row, clock):
    times = getattr(row, clock)
    low, middle, high = (_short(time) for time in (min(times), row.median(clock), max(times)))
    return f"{middle} ({low}-{high})"


def _short(time):
    return f"{time:.2f}" if time < 10 else f"{time:.1f}"


def _multiple(row, base, clock):
    if base is None or base.problem or not base.cpu:
        return "-"
    return f"{row.median(clock) / base.median(clock):.2f}"


def as_json(results, facts, command, when):
    """Return all of it, each round included, for other programs."""
    works = {
        work.name: {
            "title": work.title,
            "unit": work.unit,
            "microseconds": {name: asdict(row) for name, row in rows.items()},
        }
        for work, rows in results
    }
    return {"date": when.isoformat(), "command": command, **facts, "works": works}
