"""The process of one contender: told by lines on its input to measure, it answers by lines.

    python -m tests.bench.worker CONTENDER RUNS_ON HOST PORT [CPU]

HOST and PORT are those of one node of what it uses.

Requests and answers are JSON: `{"do": "calibrate" | "round", "work": ..., ...}`, answered by
`{"ok": ...}`, `{"failed": why}` or `{"wrong": why}`. The first line is the answer to connecting,
which may also be `{"missing": why}`.
"""

from __future__ import annotations

import gc
import json
import os
import sys

from tests.bench import caching_works, checks, visits
from tests.bench.checks import WrongError, check_at_once
from tests.bench.contenders import of_kind
from tests.bench.works import WORKS

CHECKS = {**checks.CHECKS, **visits.CHECKS, **caching_works.CHECKS}
_WARM = 32  # calls before each round: connections that idled while others ran are in use again


class Worker:
    """Does what the requests say."""

    def __init__(self, contender, address):
        self._session = contender.connect(address)
        self._referee = contender.referee(address) if contender.server else None
        self._checked = set()

    def calibrate(self, work, seconds):
        """Check the operation, and return how many calls take about `seconds`."""
        self._check(work)
        calls = _WARM
        while (took := self._run(work, calls).wall) < seconds / 4:
            calls *= 2
        return max(round(calls * seconds / took), 1)

    def _check(self, work):
        if work.needs not in self._checked:
            CHECKS[work.needs](self._session.operation(work.needs, 0), self._referee)
            self._checked.add(work.needs)
        if work.tasks > 1 and "at once" not in self._checked:
            check_at_once(self._session.at_once, self._referee)
            self._checked.add("at once")

    def round(self, work, calls):
        """Return the microseconds of wall time and of this process's CPU for each unit of work."""
        self._run(work, _WARM + 2 * work.tasks)
        gc.collect()
        timing = self._run(work, calls)
        units = calls * work.per_call / 1e6
        return timing.wall / units, timing.cpu / units

    def _run(self, work, calls):
        timing = work.run(self._session, work.needs, calls)
        if not timing.right:
            raise WrongError(f"the last of {calls} replies was wrong")
        return timing

    def close(self):
        self._session.close()
        if self._referee:
            self._referee.close()


def answer(action, *args):
    """Return what an action comes to, as a line's content."""
    try:
        return {"ok": action(*args)}
    except WrongError as error:
        return {"wrong": str(error)}
    except ImportError as error:
        return {"missing": str(error)}
    except Exception as error:  # noqa: BLE001 - one contender's failure is a line of the report
        return {"failed": f"{type(error).__name__}: {error}"}


def serve(contender, address, replies):
    """Connect, and answer requests until the input ends."""
    workers = []
    connected = answer(lambda: workers.append(Worker(contender, address)))
    print(json.dumps(connected), file=replies, flush=True)
    if not workers:
        return
    works = {work.name: work for work in WORKS}
    for line in sys.stdin:
        request = json.loads(line)
        actions = {"calibrate": workers[0].calibrate, "round": workers[0].round}
        reply = answer(actions[request["do"]], works[request["work"]], request["amount"])
        print(json.dumps(reply), file=replies, flush=True)
    workers[0].close()


def main(name, runs_on, host, port, cpu=None):
    if cpu is not None:
        os.sched_setaffinity(0, {int(cpu)})
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)  # what a client prints is no answer
        contender = next(c for c in of_kind(runs_on) if c.name == name)
        serve(contender, (host, int(port)), replies)


if __name__ == "__main__":
    main(*sys.argv[1:])
