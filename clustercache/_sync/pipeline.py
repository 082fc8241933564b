"""Pipelines: many calls in one write to each node, their results in the order of the calls."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._queue import Queue, first_error
from clustercache._request import NO_SLOT, NOT_TRIED
from clustercache._rounds import Leftover
from clustercache._sync.exchange import Share, exchange
from clustercache._sync.observed import observe_pipeline
from clustercache._sync.rounds import SyncRounds

if TYPE_CHECKING:
    from types import TracebackType

    from clustercache._core.routing import Part
    from clustercache._queue import Chunk
    from clustercache._request import Command
    from clustercache._sync.cluster import Cluster
    from clustercache._sync.pool import Pool


class Pipeline(Queue):
    """Calls that are kept and sent together by `execute`.

    Keys may live in any slots, and multi-key commands are split as on the client. Calls on one key
    are executed in their order; calls on different keys need not be. Not thread-safe.
    """

    _is_async_client: Literal[False] = False

    def __init__(self, client: Cluster) -> None:
        """Begin empty; see `Cluster.pipeline`."""
        super().__init__(client.config, client._limits)  # noqa: SLF001 - a part of the client
        self._client = client
        self._map = client._map  # noqa: SLF001
        self._callbacks = client._callbacks  # noqa: SLF001
        self.encoder = client.encoder
        if client.config.hooks:
            observe_pipeline(self, self._map)

    def _parts_of(self, command: Command) -> list[Part]:
        return self._map.parts_of(command)

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        """Send all calls and return their results in order.

        The deadline holds for each `WINDOW` of calls.

        Args:
            raise_on_error: Raise the first error, naming the call's number, once all were sent;
                False leaves each error in its place among the results.
        """
        chunks = self._take()
        results: list[Any] = []
        first: Exception | None = None
        for number, chunk in enumerate(chunks):
            came = self._run(chunk)
            if raise_on_error and first is None:
                first = first_error(chunk, came, len(results))
            results += came
            chunks[number] = None  # type: ignore[call-overload]  # a long pipeline's memory
        if first is not None:
            raise first
        return results

    def _run(self, chunk: Chunk) -> list[Any]:
        """Return the results of some calls."""
        limits = self._limits.in_force()
        now = monotonic()
        deadline = now + limits.deadline
        self._map.ensure(deadline)
        replies, clean = self._first_round(chunk, deadline)
        if not clean:
            SyncRounds(self._map, Leftover(chunk, replies, limits, now), limits, now).run()
        return chunk.results(replies, self._callbacks, limits)

    def _first_round(self, chunk: Chunk, deadline: float) -> tuple[list[Any], bool]:
        """Write everything, and return what came back for each piece; and whether all is well."""
        data, slots = chunk.data, self._map.slots
        groups: dict[Pool | None, list[int]] = {}
        find = groups.get
        for index, slot in enumerate(chunk.slots):
            pool = slots[slot] if slot != NO_SLOT else self._map.any_primary()
            members = find(pool)
            if members is None:
                groups[pool] = [index]
            else:
                members.append(index)
        unowned = groups.pop(None, None)
        ordered = sorted(groups.items(), key=lambda group: group[0].address)  # type: ignore[union-attr]
        shares = [Share(pool, [data[i] for i in members]) for pool, members in ordered]  # type: ignore[arg-type]
        exchange(self._map, shares, deadline, peek=True)
        replies: list[Any] = [NOT_TRIED] * len(data)
        for (_, members), share in zip(ordered, shares, strict=True):
            for index, outcome in zip(members, share.outcomes, strict=True):
                replies[index] = outcome
        return replies, unowned is None and all(share.clean for share in shares)

    def reset(self) -> None:  # type: ignore[override]  # the command RESET, in the mixins
        """Forget the calls that were kept."""
        self._take()

    def close(self) -> None:
        """Forget the calls that were kept."""
        self.reset()

    def __enter__(self) -> Self:
        """Return the pipeline."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget what was not executed."""
        self.reset()
