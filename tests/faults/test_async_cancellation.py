"""Calls that are cancelled, at any moment and in any number, disturb no other: rule 1.

CLUSTERCACHE_STORM_SECONDS makes the storm longer than the seconds that every run spends on it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from clustercache import AsyncCluster
from tests.faults.calls import tags_of
from tests.faults.proxy import torn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache.localcluster import LocalCluster

pytestmark = pytest.mark.faults
ECHO = "return ARGV[1]"
"""Goes to a key's slot and answers with what it was sent, whether the key exists or not."""
STORM = float(os.environ.get("CLUSTERCACHE_STORM_SECONDS", "12"))
CALLERS = 240
SOON = 0.03
"""Seconds within which a call is cancelled, if it is: most take less, some more."""
CROWD = 20_000


class Storm:
    """Callers whose calls are cut short at random, and who know each reply by heart."""

    def __init__(self, client: AsyncCluster, tags: Sequence[str], seed: int) -> None:
        self.client = client
        self.tags = tags
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(seed)
        self._number = 0

    async def blow(self, seconds: float) -> None:
        """Let all callers call, and come back when the last of them is done."""
        limit = monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(self._call_until(limit, self.tags[number % len(self.tags)]))

    async def _call_until(self, limit: float, tag: str) -> None:
        cuts = [self._whole, self._cancelled, self._timed]
        calls = [self._echo, self._echo, self._set_and_get, self._pipeline]
        while monotonic() < limit:
            self._number += 1
            call = self._random.choice(calls)(tag, f"{tag}/{self._number}".encode())
            self.seen[await self._random.choice(cuts)(call)] += 1

    async def _whole(self, call: Any) -> str:
        await call
        return "whole"

    async def _cancelled(self, call: Any) -> str:
        task = asyncio.ensure_future(call)
        timer = asyncio.get_running_loop().call_later(self._random.random() * SOON, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        finally:
            timer.cancel()
        return "whole"

    async def _timed(self, call: Any) -> str:
        try:
            async with asyncio.timeout(self._random.random() * SOON):
                await call
        except TimeoutError:
            return "timed out"
        return "whole"

    def _expect(self, reply: Any, right: Any) -> None:
        if reply != right:
            self.wrong.append(f"{reply!r} where {right!r} was right")

    async def _echo(self, tag: str, token: bytes) -> None:
        self._expect(await self.client.eval(ECHO, 1, f"absent:{{{tag}}}", token), token)

    async def _set_and_get(self, tag: str, token: bytes) -> None:
        key = f"own:{{{tag}}}:{token.decode()}"
        self._expect(await self.client.set(key, token, px=5000), True)
        self._expect(await self.client.get(key), token)

    async def _pipeline(self, tag: str, token: bytes) -> None:
        tags = [tag, *self._random.sample(self.tags, 3)]
        tokens = [token + b"/%d" % number for number in range(len(tags))]
        async with self.client.pipeline() as pipe:
            for one, word in zip(tags, tokens, strict=True):
                pipe.eval(ECHO, 1, f"absent:{{{one}}}", word)
            self._expect(await pipe.execute(), tokens)

    async def all_is_well(self) -> None:
        """Have every tag echo once more: what was left behind by then has been swallowed."""
        for tag in self.tags:
            await self._echo(tag, f"well/{tag}".encode())
        assert not self.wrong, f"{len(self.wrong)} wrong replies, the first: {self.wrong[0]}"


class Held(NamedTuple):
    """What is alive."""

    tasks: int
    futures: int
    objects: int
    blocks: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        objects = gc.get_objects()
        futures = sum(isinstance(one, asyncio.Future) for one in objects)
        return cls(len(asyncio.all_tasks()), futures, len(objects), sys.getallocatedblocks())


def check_held(before: Held, after: Held) -> None:
    """Check that what is alive is no more than it was; a cache may fill by a little."""
    assert after.tasks <= before.tasks, f"{before} became {after}"
    assert after.futures <= before.futures + 8, f"{before} became {after}"
    assert after.objects <= before.objects + 500, f"{before} became {after}"
    assert after.blocks <= before.blocks + 5000, f"{before} became {after}"


async def storm(lc: LocalCluster, remap: Any, seed: int, report: Any) -> None:
    tags = [tag for node in lc.primaries for tag in tags_of(lc, node, 8)]
    async with AsyncCluster.from_url(lc.url, address_remap=remap) as client:
        weather = Storm(client, tags, seed)
        await weather.blow(STORM / 3)
        await weather.all_is_well()
        before = Held.now()
        await weather.blow(STORM * 2 / 3)
        await weather.all_is_well()
        after = Held.now()
    for name, count in weather.seen.items():
        report(name, count)
    report("before", before)
    report("after", after)
    check_held(before, after)
    assert min(weather.seen.values()) >= 1000, f"there was no storm: {weather.seen}"
    assert len(weather.seen) == 3


@pytest.mark.timeout(60 + 2 * STORM)
def test_a_storm_of_cancellations_leaves_every_reply_with_its_caller(
    cluster: LocalCluster, report: Any
) -> None:
    seed = random.randrange(1 << 32)
    report("seed", seed)
    with torn(cluster.nodes, seed=seed) as remap:
        asyncio.run(storm(cluster, remap, seed, report))


async def crowd(lc: LocalCluster, seed: int, report: Any, **options: Any) -> None:
    draw = random.Random(seed)
    tags = [tag for node in lc.primaries for tag in tags_of(lc, node, 20)]
    tokens = [b"token/%d" % number for number in range(CROWD)]
    async with AsyncCluster.from_url(lc.url, **options) as client:
        await client.get("k")
        tasks = [
            asyncio.ensure_future(client.eval(ECHO, 1, f"absent:{{{draw.choice(tags)}}}", token))
            for token in tokens
        ]
        victims = draw.sample(tasks, CROWD // 2)
        while victims:
            for task in [victims.pop() for _ in range(min(len(victims), draw.randint(1, 3000)))]:
                task.cancel()
            await asyncio.sleep(0)
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = sum(isinstance(one, asyncio.CancelledError) for one in replies)
        wrong = [
            (reply, token)
            for reply, token in zip(replies, tokens, strict=True)
            if reply != token and not isinstance(reply, asyncio.CancelledError)
        ]
        assert not wrong, f"{len(wrong)} wrong replies, the first: {wrong[0]}"
        report("cancelled", cancelled)
        assert CROWD // 10 <= cancelled <= CROWD // 2
        for token in tokens[:100]:
            assert await client.eval(ECHO, 1, f"absent:{{{draw.choice(tags)}}}", token) == token


@pytest.mark.parametrize("options", [{}, {"max_in_flight": 64}], ids=["usual", "few_in_flight"])
def test_ten_thousand_cancelled_calls_of_twenty_leave_the_others_right(
    options: dict[str, Any], cluster: LocalCluster, report: Any
) -> None:
    seed = random.randrange(1 << 32)
    report("seed", seed)
    asyncio.run(crowd(cluster, seed, report, **options))
