"""How blocking operations are called, by one thread or by several.

Timed loops do nothing but call the contender: the calls are counted beforehand, so that no clock
is read between them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from threading import Barrier

from tests.bench.data import GROUPS, KEYS, LONG, VALUES
from tests.bench.timing import clocks, since


def get(operation, calls, first):
    for key in islice(cycle(KEYS), first, first + calls):
        value = operation(key)
    return value == VALUES[key]


def put(operation, calls, first):
    for key, value in islice(cycle(VALUES.items()), first, first + calls):
        done = operation(key, value)
    return done in {True, "OK", b"OK"}


def groups(operation, calls, first):
    for group in islice(cycle(GROUPS), first, first + calls):
        values = operation(group)
    return values == [VALUES[key] for key in group]


def long_groups(operation, calls, first):
    for _ in range(calls):
        values = operation(LONG)
    return values == [VALUES[key] for key in LONG]


def in_main_thread(drive):
    """Run all calls in the main thread."""

    def run(session, needs, calls):
        operation = session.operation(needs, 0)
        began = clocks()
        right = drive(operation, calls, 0)
        return since(began, right)

    return run


def in_threads(drive, count):
    """Share the calls out to `count` threads, which start together at different keys."""

    def run(session, needs, calls):
        operations = [session.operation(needs, thread) for thread in range(count)]
        began = []
        together = Barrier(count, action=lambda: began.extend(clocks()))

        def part(thread):
            together.wait()
            return drive(operations[thread], -(-calls // count), thread * len(KEYS) // count)

        with ThreadPoolExecutor(count) as threads:
            right = all(list(threads.map(part, range(count))))
            return since(began, right)

    return run
