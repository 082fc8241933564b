"""The way of an `AsyncCache` to its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from clustercache._async.together import read_together
from clustercache.caching.ways import FEW, Ways, is_repeatable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache.caching.abackground import AsyncBackground
    from clustercache.caching.calls import Call


class AsyncClusterWay(Ways):
    """Sends calls by an `AsyncCluster`."""

    def __init__(self, client: Any, settings: Any, background: AsyncBackground) -> None:
        """Ask nothing yet."""
        super().__init__(client, client._knowledge, settings)  # noqa: SLF001 - ours too
        self._background = background
        self._is_plain = not (client.config.hooks or client.config.recodes)

    async def ask(self, calls: Sequence[Call], *, sure: bool = False) -> list[Any]:
        """Return the calls' outcomes, in order: replies, or errors where there are none."""
        sending = self.sending(calls, sure=sure)
        try:
            commands = next(sending)
            with self.limits(sure=sure, repeatable=is_repeatable(calls)):
                while True:
                    commands = sending.send(await self._send(commands))
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    async def read(self, keys: Sequence[str], spent: float = 0.0) -> list[Any]:
        """Return what keys hold, in order, or the errors in their places.

        Args:
            keys: What is read.
            spent: Seconds of the deadline that are gone.
        """
        reading = self.reading(keys)
        try:
            asked = next(reading)
            with self.limits(sure=False, repeatable=False, spent=spent):
                while True:
                    asked = reading.send(await self._gets(asked))
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    async def _gets(self, keys: Sequence[str]) -> list[Any]:
        if len(keys) == 1:
            return await self._send((("GET", keys[0]),))
        client = self.client
        if len(keys) <= FEW and self._is_plain and client._limited() is None:  # noqa: SLF001 - ours too
            here: Any = client._here()  # noqa: SLF001 - ours too
            replies = await read_together(here.map, keys)
            if replies is not None:
                return replies
        outcomes: list[Any] = await client._read_each(keys)  # noqa: SLF001 - ours too
        return outcomes

    async def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            if len(commands) == 1:
                return [await self.client.execute_command(*commands[0])]
            pipeline = self.client.pipeline()
            for words in commands:
                pipeline.execute_command(*words)
            outcomes: list[Any] = await pipeline.execute(raise_on_error=False)
        except RedisError as error:
            return [error] * len(commands)
        return outcomes

    def probe(self, key: str) -> None:
        """Read a key of a shard while nobody waits, and tell the gate."""

        async def work() -> None:
            (outcome,) = await self._send([("EXISTS", key)])
            if isinstance(outcome, RedisError):
                self.gate.failed(key, outcome)
            else:
                self.gate.succeeded(key)

        self._background.submit(("probe", key), work)
