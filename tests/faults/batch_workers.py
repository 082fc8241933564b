"""Workers that send pipelines and transactions, and know each result by heart."""

from __future__ import annotations

import itertools
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache.exceptions import OvertakenError
from tests.faults.calls import Caller
from tests.faults.load import Worker

if TYPE_CHECKING:
    import threading


class BatchCaller(Caller):
    """A caller whose calls are batches; each command in them counts as a call of its own."""

    def _remember(
        self, identity: str, start: float, outcomes: list[tuple[str, Exception | None]]
    ) -> None:
        end = monotonic()
        for kind, error in outcomes:
            name = identity if kind == "NEVER" else f"{identity}-{kind}"
            self._calls.append((kind, start, end, error, name))


class PipedCaller(BatchCaller):
    """Sends pipelines on several keys of its slot, some of them more than once."""

    KEYS = 4

    def __init__(self, client: Any, tag: str, name: str, **options: Any) -> None:
        super().__init__(client, tag, name, **options)
        self._names = [self._key(f"many{number}") for number in range(self.KEYS)]
        self.overtaken = 0

    def _values(self, identity: str) -> list[bytes]:
        return [f"{identity}/{number}".encode() for number in range(self.KEYS)]

    def _fill(self, pipe: Any, identity: str) -> None:
        """Put the commands into a pipeline."""
        pipe.set(self._key("value"), identity).get(self._key("value"))
        pipe.hincrby(self.log, identity, 1)
        pipe.mset(dict(zip(self._names, self._values(identity), strict=True))).mget(self._names)
        pipe.hset(self._key("seen"), self.name, identity).delete(self._names[0])

    def _outcomes(self, results: list[Any], identity: str) -> list[tuple[str, Exception | None]]:
        """Return each command's class, and what is wrong with its result."""
        kinds = ["SAME", "READ", "NEVER", "SAME", "READ", "COUNT", "COUNT"]
        right = [{True}, {identity.encode()}, {1}, {True}, None, {0, 1}, {0, 1}]
        values = self._values(identity)
        return [
            (kind, self._judged(result, allowed, values))
            for kind, result, allowed in zip(kinds, results, right, strict=True)
        ]

    def _judged(self, result: Any, allowed: set[Any] | None, values: list[bytes]) -> Any:
        """Return what is wrong with a result; a command that gave way to a later one is not."""
        if isinstance(result, OvertakenError):
            assert result.applied == "no"
            self.overtaken += 1
            return None
        if isinstance(result, Exception):
            return result
        good = result in allowed if allowed is not None else result == values or self.overtaken
        return None if good else AssertionError(f"{result!r} is none of {allowed or values}")


class Batches(BatchCaller, Worker):
    """A thread that sends batches."""

    def run(self, stop: threading.Event) -> None:
        """Send batches until `stop`; an error never ends it."""
        for number in itertools.count():
            if stop.is_set():
                return
            identity = f"{self.name}-{number}"
            start = monotonic()
            try:
                outcomes = self.batch(identity)
            except Exception as raised:  # noqa: BLE001 - judged later
                outcomes = [("NEVER", raised)]
            self._remember(identity, start, outcomes)

    def batch(self, identity: str) -> list[tuple[str, Exception | None]]:
        """Send one batch; return each command's class and what it raised."""
        raise NotImplementedError


class Piped(PipedCaller, Batches):
    """Sends pipelines."""

    def batch(self, identity: str) -> list[tuple[str, Exception | None]]:
        with self.client.pipeline() as pipe:
            self._fill(pipe, identity)
            return self._outcomes(pipe.execute(raise_on_error=False), identity)


class Transacting(Batches):
    """Sends transactions: all of one is executed, or nothing.

    On one key, for a half-moved slot cannot execute one whose keys are on both its sides.
    """

    def batch(self, identity: str) -> list[tuple[str, Exception | None]]:
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hincrby(self.log, identity, 1).hget(self.log, identity)
            results = pipe.execute()
        assert results == [1, b"1"], f"{results} of {identity}"
        return [("NEVER", None)]


class Watching(Batches):
    """Reads under WATCH what it then writes."""

    round_trips = 3

    def batch(self, identity: str) -> list[tuple[str, Exception | None]]:
        def work(pipe: Any) -> None:
            assert pipe.hget(self.log, identity) is None, "nobody else writes it"
            pipe.multi()
            pipe.hincrby(self.log, identity, 1)

        assert self.client.transaction(work, self.log) == [1]
        return [("NEVER", None)]


def each_kind(client: Any, tag: str, name: str) -> Batches:
    """Make pipelines of every other worker; the rest watch, or execute transactions, in turn."""
    kinds = (Piped, Transacting, Piped, Watching)
    return kinds[int(name[1:]) % len(kinds)](client, tag, name)
