"""What is measured. A new kind of work is a `Work` in `WORKS`, and a check of its operation.

Timed loops do nothing but call the contender: the calls are counted beforehand, so that no clock
is read between them.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from threading import Barrier
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = 100
KEYS = [f"bench:{number}" for number in range(1000)]
VALUES = {key: f"{key}=".encode().ljust(100, b".") for key in KEYS}
LONG = KEYS * 10
GROUPS = [KEYS[start : start + GROUP] for start in range(0, len(KEYS), GROUP)]


class Timing(NamedTuple):
    """One timed stretch: seconds, and whether the last reply in it was the right one."""

    wall: float
    cpu: float
    right: bool


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Attributes:
        name: For the command line.
        title: For the report.
        needs: The operation of a contender that does it, as `checks.CHECKS` names them.
        run: Does it `calls` times: run(session, needs, calls) -> Timing.
        per_call: How many of the unit that is reported are in one call.
        unit: What is reported.
    """

    name: str
    title: str
    needs: str
    run: Callable[..., Timing]
    per_call: int = 1
    unit: str = "operation"


def _clocks():
    return time.perf_counter(), time.process_time()


def _since(began, right):
    ended = _clocks()
    return Timing(ended[0] - began[0], ended[1] - began[1], right)


def _get(get, calls, first):
    for key in islice(cycle(KEYS), first, first + calls):
        value = get(key)
    return value == VALUES[key]


def _set(put, calls, first):
    for key, value in islice(cycle(VALUES.items()), first, first + calls):
        done = put(key, value)
    return done in {True, "OK", b"OK"}


def _mget(mget, calls, first):
    for group in islice(cycle(GROUPS), first, first + calls):
        values = mget(group)
    return values == [VALUES[key] for key in group]


def _pipeline(pipeline, calls, first):
    for group in islice(cycle(GROUPS), first, first + calls):
        values = pipeline(group)
    return values == [VALUES[key] for key in group]


def _long_pipeline(pipeline, calls, first):
    for _ in range(calls):
        values = pipeline(LONG)
    return values == [VALUES[key] for key in LONG]


def in_main_thread(drive):
    """Run all calls in the main thread."""

    def run(session, needs, calls):
        operation = session.operation(needs, 0)
        began = _clocks()
        right = drive(operation, calls, 0)
        return _since(began, right)

    return run


def in_threads(drive, count):
    """Share the calls out to `count` threads, which start together at different keys."""

    def run(session, needs, calls):
        operations = [session.operation(needs, thread) for thread in range(count)]
        began = []
        together = Barrier(count, action=lambda: began.extend(_clocks()))

        def part(thread):
            together.wait()
            return drive(operations[thread], -(-calls // count), thread * len(KEYS) // count)

        with ThreadPoolExecutor(count) as threads:
            right = all(list(threads.map(part, range(count))))
            return _since(began, right)

    return run


WORKS = [
    Work("get", "GET, 1 thread", "get", in_main_thread(_get)),
    Work("set", "SET, 1 thread", "set", in_main_thread(_set)),
    Work("get-8", "GET, 8 threads", "get", in_threads(_get, 8)),
    Work(
        "mget",
        f"MGET of {GROUP} keys across slots, 1 thread",
        "mget",
        in_main_thread(_mget),
        per_call=GROUP,
        unit="key",
    ),
    Work(
        "pipeline",
        f"Pipeline of {GROUP} GETs across slots, 1 thread",
        "pipeline",
        in_main_thread(_pipeline),
        per_call=GROUP,
        unit="command",
    ),
    Work(
        "pipeline-10k",
        f"Pipeline of {len(LONG):,} GETs across slots, 1 thread",
        "pipeline",
        in_main_thread(_long_pipeline),
        per_call=len(LONG),
        unit="command",
    ),
]
