"""Measure clustercache against the floor and its peers, and write docs/benchmarks.md.

    python -m tests.bench [--rounds N] [--seconds S] [--only NAME ...] [--out FILE] [--json FILE]

Ends with status 1 if a contender failed or returned something wrong; never for a time. A contender
that is not installed is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from clustercache.localcluster import LocalCluster
from tests.bench import report
from tests.bench.contenders import BASES, CONTENDERS, of_kind
from tests.bench.rounds import ROOT, contending, measure, pinned, two_cpus
from tests.bench.sites import CLUSTER, STANDALONE
from tests.bench.works import WORKS

PAGE = ROOT / "docs" / "benchmarks.md"


def parsed(argv):
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__.split("\n")[0]
    )
    parts = dict.fromkeys(work.part for work in WORKS)
    names = list(dict.fromkeys([*parts, *(thing.name for thing in (*WORKS, *CONTENDERS))]))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn (0.5)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=names,
        metavar="NAME",
        help=f"a part, a work or a contender, several times if need be: {', '.join(names)}. "
        "The floor and signed cookies always run. Nothing but --out FILE writes the page then",
    )
    parser.add_argument("--out", type=Path, help="where the page goes (docs/benchmarks.md)")
    parser.add_argument("--json", type=Path, help="a file for every round's figures")
    options = parser.parse_args(argv)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds is at least 1, and --seconds more than 0")
    return options


def chosen(things, only):
    """Return those that are named, or whose part is; all of them if none is."""
    named = [thing for thing in things if {thing.name, getattr(thing, "part", "")} & {*only}]
    return [t for t in things if t in named or t.name in BASES] if named else things


def command_of(options):
    """Return the command with all that shapes the figures, defaults too."""
    only = "".join(f" --only {name}" for name in options.only)
    return f"python -m tests.bench --rounds {options.rounds} --seconds {options.seconds:g}{only}"


def run(options):
    """Return (results, facts): the rows of each work, and what they depend on."""
    works, contenders = chosen(WORKS, options.only), chosen(CONTENDERS, options.only)
    cpus = two_cpus()
    results = []
    kinds = {work.runs_on for work in works}
    contenders = [contender for contender in contenders if contender.runs_on in kinds]
    with pinned(cpus and cpus[0]), serving(contenders) as (server, addresses):
        facts = report.environment(contenders, server, cpus)
        for runs_on, alike in groupby(works, lambda work: work.runs_on):
            mine = of_kind(runs_on, contenders)
            with contending(mine, addresses, cpus and str(cpus[1])) as processes:
                results += [(work, turns(work, processes, options)) for work in alike]
    return results, facts


@contextlib.contextmanager
def serving(contenders):
    """Yield the server program and an address for each kind of server, and for none."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster())
        addresses = dict.fromkeys((CLUSTER, None), cluster.nodes[0].address)
        if any(contender.server == STANDALONE for contender in contenders):
            alone = stack.enter_context(LocalCluster.standalone())
            addresses[STANDALONE] = alone.nodes[0].address
        yield cluster.server, addresses


def turns(work, processes, options):
    """Say what is measured, and return its rows."""
    print(f"{work.title} ...", file=sys.stderr, flush=True)
    return measure(work, processes, options.rounds, options.seconds)


def main(argv=None):
    """Measure, print and write; return the exit status."""
    options = parsed(argv)
    when = datetime.now(UTC).replace(microsecond=0)
    results, facts = run(options)
    command = command_of(options)
    text = report.page(results, facts, command, when)
    print(text)
    out = options.out or (None if options.only else PAGE)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    if options.json is not None:
        content = report.as_json(results, facts, command, when)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    kinds = {row.kind for _, rows in results for row in rows.values()}
    return 1 if kinds - {"ok", "missing"} else 0


if __name__ == "__main__":
    sys.exit(main())
