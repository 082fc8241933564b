"""Everything at once: connections lost, slots moved, calls cancelled; and each count right."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest

from clustercache._core.slots import key_slot
from clustercache.exceptions import OutcomeUnknownError
from clustercache.testing import FakeCluster
from tests.loops import LOOPS, run
from tests.shells.ticks import warm

NAMES = [f"key-{number}" for number in range(12)]


class Tally:
    """What the calls on one key said of themselves."""

    def __init__(self):
        self.values = []
        self.unknown = 0

    def check(self, stored):
        assert len(set(self.values)) == len(self.values), "two calls got the same reply"
        assert len(self.values) <= stored <= len(self.values) + self.unknown


async def count(r, name, tally):
    try:
        tally.values.append(await r.execute_command("INCR", name))
    except asyncio.CancelledError:
        tally.unknown += 1
        raise
    except OutcomeUnknownError:
        tally.unknown += 1


def trouble(fake, rng):
    """Do something to the cluster."""
    node = rng.choice(fake.primaries)
    what = rng.randrange(6)
    if what < 2:
        node.drop_connections(reset=bool(what))
    elif what < 4:
        name = rng.choice(NAMES)
        source = fake.shard_of(name)
        half_moved_to = source.migrating.get(key_slot(name))
        if half_moved_to is not None:
            fake.move_keys(name)
            fake.move(name, half_moved_to.primary)
        elif source is not node.shard:
            (fake.migrate if what == 2 else fake.move)(name, node)


async def round_of(r, fake, rng, tallies):
    calls = []
    for name in rng.choices(NAMES, k=rng.randint(1, 30)):
        calls.append(asyncio.create_task(count(r, name, tallies[name])))
        if rng.random() < 0.1:
            await asyncio.sleep(0)
        if rng.random() < 0.1:
            rng.choice(calls).cancel()
    if rng.random() < 0.5:
        trouble(fake, rng)
    came = await asyncio.gather(*calls, return_exceptions=True)
    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in came), came


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("window", [3, 10_000])
@pytest.mark.parametrize("seed", range(2))
def test_no_reply_is_anothers_and_no_count_is_lost_or_made_twice(loop, window, seed):
    rng = random.Random(f"{loop} {window} {seed}")
    tallies = defaultdict(Tally)

    async def main():
        async with warm(fake, max_in_flight=window) as r:
            for _ in range(150):
                await round_of(r, fake, rng, tallies)

    with FakeCluster(primaries=3) as fake:
        run(main(), loop=loop)
        for name, tally in tallies.items():
            values = [shard.store.data.get(name.encode()) for shard in fake.shards]
            tally.check(max(int(value) for value in [*values, 0] if value is not None))
        assert sum(len(tally.values) for tally in tallies.values()) > 1000
