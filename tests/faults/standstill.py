"""When the machine itself stood still: no property of what runs on it.

A shared machine stops for a fifth of a second at times, all of it or one processor. A process of
its own notices: it sleeps on each processor, and writes down when it was woken late. What stops
only the tests' own process (a collector, a lock) is not among it.
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple, Self

_WATCH = """
import os, sys, threading, time

def watch(cpu):
    os.sched_setaffinity(0, {cpu})
    before = time.monotonic()
    while True:
        time.sleep(0.01)
        now = time.monotonic()
        if now - before > 0.05:
            os.write(1, f"{before + 0.01} {now}\\n".encode())  # at once: lines must not mix
        before = now

for cpu in os.sched_getaffinity(0):
    threading.Thread(target=watch, args=(cpu,), daemon=True).start()
sys.stdin.read()
"""


class Standstill(NamedTuple):
    """From when to when (monotonic)."""

    begin: float
    end: float


class Watch:
    """Notes standstills from its `start` to its `stop`."""

    def __init__(self) -> None:
        self.found: list[Standstill] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        words = [sys.executable, "-S", "-c", _WATCH]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        return self

    def stop(self) -> None:
        """End the process, and fill `found`."""
        process, self._process = self._process, None
        if process is not None:
            said, _ = process.communicate(timeout=20)
            spans = sorted(tuple(map(float, line.split())) for line in said.splitlines())
            self.found = merged([Standstill(*span) for span in spans])

    def within(self, begin: float, end: float) -> float:
        """Return for how many seconds of a time the machine stood still."""
        return sum(max(0.0, min(end, one.end) - max(begin, one.begin)) for one in self.found)


def merged(spans: list[Standstill]) -> list[Standstill]:
    """Return sorted spans with those that overlap made one."""
    found: list[Standstill] = []
    for span in spans:
        if found and span.begin <= found[-1].end:
            found[-1] = Standstill(found[-1].begin, max(span.end, found[-1].end))
        else:
            found.append(span)
    return found
