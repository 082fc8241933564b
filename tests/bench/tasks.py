"""How awaitable operations are called, by one task or by several of one loop.

As with threads, timed loops do nothing but await the contender. The tasks of a turn draw on one
supply of keys, so that all of them are busy to its end.
"""

from __future__ import annotations

import asyncio
from itertools import cycle, islice

from tests.bench.data import GROUPS, KEYS, VALUES
from tests.bench.timing import clocks, since


async def _get(operation, keys):
    key = value = None
    for key in keys:
        value = await operation(key)
    return value == VALUES.get(key)


async def _put(operation, pairs):
    done = True
    for key, value in pairs:
        done = await operation(key, value)
    return done in {True, "OK", b"OK"}


async def _groups(operation, groups):
    group, values = [], []
    for group in groups:
        values = await operation(group)
    return values == [VALUES[key] for key in group]


_DRIVES = {
    "get": (_get, KEYS),
    "set": (_put, list(VALUES.items())),
    "pipeline": (_groups, GROUPS),
}


def in_tasks(count):
    """Share the calls out to `count` tasks."""

    def run(session, needs, calls):
        return session.run(_timed(session.awaitable(needs), *_DRIVES[needs], calls, count))

    return run


async def _timed(operation, drive, supply, calls, count):
    shared = islice(cycle(supply), calls)
    began = clocks()
    right = await asyncio.gather(*[drive(operation, shared) for _ in range(count)])
    return since(began, all(right))
