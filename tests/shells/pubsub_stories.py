"""Stories of subscribers with the asyncio client."""

from __future__ import annotations

import asyncio
from time import monotonic

from clustercache import AsyncCluster
from tests.loops import until


def with_client(fake, run, **options):
    """Run a coroutine function of (client) on a loop of its own; no task is left there."""

    async def main():
        options.setdefault("socket_timeout", 0.3)
        async with AsyncCluster.from_url(fake.url, deadline=5.0, **options) as client:
            await run(client)
        await until(lambda: len(asyncio.all_tasks()) == 1)

    asyncio.run(main())


async def messages(ps, count):
    found, limit = [], monotonic() + 5.0
    while len(found) < count:
        assert monotonic() < limit, f"only {len(found)} came"
        one = await ps.get_message(timeout=1.0)
        found += [one] if one is not None else []
    return found


async def data(ps, count):
    return [one["data"] for one in await messages(ps, count)]
