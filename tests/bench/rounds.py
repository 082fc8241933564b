"""The measuring process's side: it starts a process for each contender and gives them turns."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120.0  # seconds without an answer after which a contender hangs
_KINDS = ("ok", "missing", "failed", "wrong")


@dataclass(slots=True)
class Row:
    """What one contender did in one work.

    Attributes:
        wall: Microseconds of each round, per unit of work.
        cpu: The same of its process's CPU time.
        problem: Why there are no figures, or "".
        kind: "ok", or what the problem is: "missing", "failed" or "wrong".
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    problem: str = ""
    kind: str = "ok"

    def median(self, clock):
        """Return the median of "wall" or "cpu"."""
        return median(getattr(self, clock))


class Process:
    """A contender's process."""

    def __init__(self, contender, address, cpu=None):
        self.name = contender.name
        words = [contender.name, contender.runs_on, address[0], str(address[1])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.worker", *words, *([] if cpu is None else [cpu])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.kind, self.answer = "ok", None
        self.kind, self.answer = self._read()

    def ask(self, do, work, amount):
        """Send a request and return its answer: (kind, content)."""
        if self.kind != "ok":
            return self.kind, self.answer
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it
            request = json.dumps({"do": do, "work": work.name, "amount": amount})
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self):
        readable, _, _ = select.select([self._process.stdout], [], [], _PATIENCE)
        if not readable:
            self._process.kill()
            return self._lost(f"no answer for {_PATIENCE:g} s")
        line = self._process.stdout.readline()
        if not line:
            return self._lost(f"its process ended with status {self._process.wait()}")
        reply = json.loads(line)
        return next((kind, reply[kind]) for kind in _KINDS if kind in reply)

    def _lost(self, why):
        self.kind, self.answer = "failed", why
        return self.kind, self.answer

    def close(self):
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def measure(work, processes, rounds, seconds):
    """Return each contender's `Row`: A B C D, A B C D, ... so that a slow minute hits all alike."""
    rows = {process.name: Row() for process in processes}
    calls = {}
    for process in processes:
        row = rows[process.name]
        row.kind, answer = process.ask("calibrate", work, seconds)
        if row.kind == "ok":
            calls[process.name] = answer
        else:
            row.problem = answer
    for _ in range(rounds):
        for process in processes:
            row = rows[process.name]
            if row.kind == "ok":
                _round(process, work, calls[process.name], row)
    return rows


def _round(process, work, calls, row):
    row.kind, answer = process.ask("round", work, calls)
    if row.kind == "ok":
        row.wall.append(answer[0])
        row.cpu.append(answer[1])
    else:
        row.problem = answer


@contextlib.contextmanager
def contending(contenders, addresses, cpu=None):
    """Yield the processes of all contenders, and end them.

    Args:
        contenders: Who they are.
        addresses: The address for each kind of server, and for None.
        cpu: Where to keep them.
    """
    with contextlib.ExitStack() as stack:
        processes = []
        for contender in contenders:
            processes.append(Process(contender, addresses[contender.server], cpu))
            stack.callback(processes[-1].close)
        yield processes


def two_cpus():
    """Return a CPU for the servers and one for the clients, or None where that cannot be."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[:2] if len(cpus) > 1 else None


@contextlib.contextmanager
def pinned(cpu):
    """Keep this process, and what it starts meanwhile, on one CPU."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
