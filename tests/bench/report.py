"""The measurements as a page of Markdown, and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from tests.bench.tables import OURS, table

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
_PREFACES = {
    "clients": "",
    "sessions": """
## Sessions

One request through the framework's own test client, both of which are in the figures: a page that
never touches its session, one that reads all of it, and one that changes a value. Browsers of
twelve users take turns; each session holds a user, a token, a cart of five things and a counter.

- `signed-cookie`: the framework's own sessions in the browser's cookie, without a server.
- `clustercache`: on the cluster. `clustercache-standalone`: on one server that is in no cluster.
- `flask-session`: Flask-Session on one server; unless it is told not to, it writes each session at
  the end of each request. `flask-session-changes`: told so (`SESSION_REFRESH_EACH_REQUEST=False`).
- `django-redis`, `django-rediscache`: Django's cache sessions on django-redis, and on Django's own
  `RedisCache`, on one server.

All other settings are the defaults. The cheapest peer is that of the least CPU among those that are
neither a cookie nor clustercache. Requests per second are one process's, one after the other.
""",
    "caching": """
## Caching

A near hit is a call of a decorated function of a number that returns a text, after each of a
thousand numbers was asked for once. A far hit is a `get` of one of a thousand products, which are
dictionaries of five entries, written as the cache likes. Far hits by one call are its `get_many`,
or what it calls that. One thread, or one task, asks for one after the other.

- `cachetools`: its `cached` with an LRU cache and a lock, without a server or any expiry; for
  coroutines by hand, without a lock. `floor`: raw sockets, as above; no value is made of the bytes.
- `clustercache`: on the cluster; near hits with a `NearCache`, far hits without one.
  `clustercache-miss`: far hits with a `NearCache` that is asked first, lacks the value, and keeps
  it. `clustercache-standalone`: on one server. `clustercache-client`: GET or MGET of the client;
  no value is made of the bytes.
- `redis-py-near`: redis-py's client-side cache on one server; it takes Redis 7.4 or later alone.
- `aiocache-memory`, `cashews-memory`: their decorators in process. `cashews-near`: its client-side
  cache of one server.
- `dogpile.cache`, `django-rediscache`, `django-redis`, `aiocache`, `cashews`: on one server.

All other settings are the defaults.

What a near cache saves depends on how many of the things that are asked for fit into it
(`python -m tests.bench.caching_zipf` counts and draws it):

![Hit rates and commands by the size of the near cache](images/near-cache.svg)
""",
}


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
        "- clients: 1,000 keys in all slots, 100-byte values, read and written as str and bytes",
    ]
    for part, alike in groupby(results, lambda result: result[0].part):
        parts += _PREFACES[part].splitlines()
        for work, rows in alike:
            parts += ["", f"## {work.title}", "", f"Per {work.unit}.", "", *table(work, rows)]
    return "\n".join(parts) + "\n"


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
