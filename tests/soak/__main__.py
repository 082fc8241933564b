"""Run the soak, print its report, and exit with 0 only if all was well."""

from __future__ import annotations

import argparse
import asyncio
import sys

from clustercache.localcluster import LocalCluster
from tests.soak.run import Soak


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the report is what this is run for


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="how long each takes (default: %(default)s)"
    )
    parser.add_argument("--server", help="a path or a name, as LocalCluster takes it")
    given = parser.parse_args()
    with LocalCluster(server=given.server) as lc:
        soak = Soak(lc, given.seconds, say)
        say(next(soak.report.table()))
        report = asyncio.run(soak.run(given.rounds))
    wrongs = list(report.wrongs())
    for wrong in wrongs:
        say(wrong)
    absent = sum(one.absent for one in report.rounds if one.fault == "kill")
    say(f"{absent} acknowledged operations were lost with the primaries that were killed")
    say("FAILED" if wrongs else "all was well")
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
