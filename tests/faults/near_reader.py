"""A process that reads through a near cache and tells what it saw, for a judge outside.

    python -m tests.faults.near_reader URL NUMBER KIND COUNT RULE OWN KEY ...

It says ``ready`` once all keys are near, reads until it hears ``stop`` and has read COUNT times,
and says what it saw, in monotonic seconds, of which all processes of a machine have the same:

    read BEGAN ENDED KEY VALUE NEAR     NEAR is 1 for a hit
    wrote ASKED RETURNED VALUE SURE     OWN is written by this process alone; SURE is 1 if confirmed

and ``done``. When it hears ``settle`` it says what it holds, makes all keys near and says that:

    held KEY VALUE      near KEY VALUE

KIND is one of `near_shells`. RULE is what is taken out of the near cache's rules, or ``-``.
"""

from __future__ import annotations

import random
import sys
import threading
from contextlib import nullcontext
from time import monotonic

from clustercache.caching.near import MISSING, NearCache
from tests.faults.near_shells import SHELLS
from tests.near_rules import without

RESTING, REST = 0.1, 0.001
"""How often it rests behind a read, and for how many seconds."""


class Reader:
    """What is common to both kinds: steps that a shell takes."""

    def __init__(self, look, number, count, own, keys):
        self.look, self.count, self.own, self.keys = look, count, own, keys
        self.draw = random.Random(number)
        self.lines = []
        self._written = 0

    def steps(self, stopped):
        """Read at random, and now and then write what is one's own."""
        done = 0
        while done < self.count or not stopped():
            if self.draw.random() < 0.005:
                yield from self._write()
            key = self.draw.choice(self.keys)
            began = monotonic()
            value = self.look(key)
            near = value is not MISSING
            if not near:
                value = yield "fetch", key, self._thinking()
            if value is not MISSING:
                ended = monotonic()
                self.lines.append(f"read {began} {ended} {key.decode()} {value} {int(near)}")
                done += 1
            if self.draw.random() < RESTING:
                yield "rest", REST

    def _thinking(self):
        """How long it takes to decode what was read: mostly no time, now and then a while."""
        return self.draw.random() * 0.005 if self.draw.random() < 0.3 else 0.0

    def _write(self):
        self._written += 1
        asked = monotonic()
        sure = yield "write", self.own, self._written
        self.lines.append(f"wrote {asked} {monotonic()} {self._written} {int(sure)}")

    def warming(self):
        """Make all keys near."""
        for key in self.keys:
            while self.look(key) is MISSING:
                yield "fetch", key, 0.0
                yield "rest", 0.001

    def held(self, word):
        for key in self.keys:
            value = self.look(key)
            if value is not MISSING:
                print(word, key.decode(), value)  # noqa: T201


def hear(stopped, settled):
    for line in sys.stdin:
        {"stop": stopped, "settle": settled}[line.strip()].set()


def main(url, number, how, count, rule, *names):
    """Read, tell, settle and tell."""
    stopped, settled = threading.Event(), threading.Event()
    threading.Thread(target=hear, args=(stopped, settled), daemon=True).start()
    own, *keys = [name.encode() for name in names]
    with nullcontext() if rule == "-" else without(rule):
        shell = SHELLS[how](url, NearCache())
        reader = Reader(shell.look, int(number), int(count), own, keys)
        shell.take(reader.warming())
        print("ready", flush=True)  # noqa: T201 - the judge reads this
        shell.take(reader.steps(stopped.is_set))
        print(*reader.lines, "done", sep="\n", flush=True)  # noqa: T201
        settled.wait()
        reader.held("held")
        shell.take(reader.warming())
        reader.held("near")
        sys.stdout.flush()
        shell.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
