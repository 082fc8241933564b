"""The way of a `Cache` to its cluster."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from clustercache._core.slots import key_slot
from clustercache._core.wire import pack_many
from clustercache._sync.together import read_together
from clustercache.caching.ways import FEW, Ways, is_repeatable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache.caching.background import Background
    from clustercache.caching.calls import Call


class ClusterWay(Ways):
    """Sends calls by a `Cluster`."""

    def __init__(self, client: Any, settings: Any, background: Background) -> None:
        """Ask nothing yet."""
        super().__init__(client, client._map, settings)  # noqa: SLF001 - ours too
        self._background = background
        config = client.config
        self._is_plain = not (config.hooks or config.recodes) and config.deadline > config.patience
        """Whether a read may go past all that is for special cases."""

    def ask(self, calls: Sequence[Call], *, sure: bool = False) -> list[Any]:
        """Return the calls' outcomes, in order: replies, or errors where there are none."""
        sending = self.sending(calls, sure=sure)
        try:
            commands = next(sending)
            with self.limits(sure=sure, repeatable=is_repeatable(calls)):
                while True:
                    commands = sending.send(self._send(commands))
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    def read(self, keys: Sequence[str], spent: float = 0.0) -> list[Any]:
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
                    asked = reading.send(self._gets(asked))
        except StopIteration as end:
            outcomes: list[Any] = end.value
            return outcomes

    def _gets(self, keys: Sequence[str]) -> list[Any]:
        client = self.client
        if len(keys) == 1:
            return self._send((("GET", keys[0]),))
        if len(keys) <= FEW and self._is_plain and client._limited() is None:  # noqa: SLF001 - ours too
            data = pack_many([("GET", key) for key in keys])
            slots = [key_slot(key.encode()) for key in keys]
            until = monotonic() + client.config.deadline
            replies = read_together(client._map, slots, data, until)  # noqa: SLF001 - ours too
            if replies is not None:
                return replies
        outcomes: list[Any] = client._read_each(keys)  # noqa: SLF001 - ours too
        return outcomes

    def _send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        try:
            if len(commands) == 1:
                return [self.client.execute_command(*commands[0])]
            pipeline = self.client.pipeline()
            for words in commands:
                pipeline.execute_command(*words)
            outcomes: list[Any] = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            return [error] * len(commands)
        return outcomes

    def probe(self, key: str) -> None:
        """Read a key of a shard while nobody waits, and tell the gate."""

        def work() -> None:
            (outcome,) = self._send([("EXISTS", key)])
            if isinstance(outcome, RedisError):
                self.gate.failed(key, outcome)
            else:
                self.gate.succeeded(key)

        self._background.submit(("probe", key), work)
