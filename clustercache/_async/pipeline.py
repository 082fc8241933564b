"""Pipelines: many calls in one write to each node, their results in the order of the calls."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._async.batches import Share, send_shares
from clustercache._async.observed import observe_pipeline
from clustercache._async.parcels import is_small, send_to
from clustercache._async.rounds import AsyncRounds
from clustercache._queue import Queue, first_error
from clustercache._request import NO_SLOT, NOT_TRIED, Unsure
from clustercache._rounds import Leftover
from clustercache.exceptions import CrossSlotError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from clustercache._async.cluster import AsyncCluster
    from clustercache._async.cluster_map import ClusterMap
    from clustercache._async.mux import Mux
    from clustercache._core.routing import Part
    from clustercache._queue import Chunk
    from clustercache._request import Command


class AsyncPipeline(Queue):
    """Calls that are kept and sent together by `execute`.

    Its methods keep a call and return the pipeline, which need not be awaited. Keys may live in any
    slots, and multi-key commands are split as on the client. Calls on one key are executed in their
    order; calls on different keys need not be. For one task at a time.
    """

    _is_async_client: Literal[False] = False  # its methods return no awaitables of results

    def __init__(self, client: AsyncCluster) -> None:
        """Begin empty; see `AsyncCluster.pipeline`."""
        super().__init__(client.config, client._limits)  # noqa: SLF001 - a part of the client
        self._client = client
        self._knowledge = client._knowledge  # noqa: SLF001
        self._callbacks = client._callbacks  # noqa: SLF001
        self._doubt: CrossSlotError | None = None
        self.encoder = client.encoder
        if client.config.hooks:
            observe_pipeline(self, self._knowledge.observer)

    # Keeping calls ----------------------------------------------------------------------------

    def _parts_of(self, command: Command) -> list[Part]:
        known = self._knowledge.topology
        try:
            return command.parts(None if known is None else known.single)
        except Unsure:
            pass
        try:
            return command.parts()
        except CrossSlotError as error:
            self._if_not_together(error)
            return command.parts(True)  # noqa: FBT003 - a word

    def _if_not_together(self, error: CrossSlotError) -> None:
        """Raise it, or let `execute` do so: nothing can be asked while calls are kept."""
        known = self._knowledge.topology
        if known is not None and not known.single:
            raise error
        self._doubt = self._doubt or error

    def _raise_if_doubtful(self, known: ClusterMap) -> None:
        doubt, self._doubt = self._doubt, None
        if doubt is not None and not known.single:
            raise doubt

    # Executing --------------------------------------------------------------------------------

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
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
            came = await self._run(chunk)
            if raise_on_error and first is None:
                first = first_error(chunk, came, len(results))
            results += came
            chunks[number] = None  # type: ignore[call-overload]  # a long pipeline's memory
        if first is not None:
            raise first
        return results

    async def _run(self, chunk: Chunk) -> list[Any]:
        """Return the results of some calls."""
        limits = self._limits.in_force()
        now = monotonic()
        known = self._client._here().map  # noqa: SLF001 - a part of the client
        await known.ensure(now + limits.deadline)
        self._raise_if_doubtful(known)
        replies: list[Any] = [NOT_TRIED] * len(chunk.data)
        if not await _first_round(known, chunk, replies, now + limits.deadline):
            left = Leftover(chunk, replies, limits, now)
            await AsyncRounds(known, left, limits, now).run()
        return chunk.results(replies, self._callbacks, limits)

    # The pipeline itself ----------------------------------------------------------------------

    async def reset(self) -> None:  # type: ignore[override]  # the command RESET, in the mixins
        """Forget the calls that were kept."""
        self._forget()

    def _forget(self) -> None:
        self._take()
        self._doubt = None

    async def aclose(self) -> None:
        """Forget the calls that were kept."""
        await self.reset()

    async def _ready(self) -> Self:
        await self._client.initialize()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Return the pipeline: what keeps a call may be awaited, as in redis-py."""
        return self._ready().__await__()

    async def __aenter__(self) -> Self:
        """Return the pipeline."""
        return await self._ready()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget what was not executed."""
        await self.reset()


async def _first_round(
    known: ClusterMap, chunk: Chunk, replies: list[Any], deadline: float
) -> bool:
    """Write everything, and put what came back for each piece into `replies`; tell if all is well.

    What a node cannot take at once, or should not take on its shared connection, keeps none of the
    others waiting.
    """
    data = chunk.data
    shares, complete = _shares(known, chunk)
    if known.observer.active:
        for share in shares:
            known.observer.sent_to(share.pool.address)
    small = is_small(data)
    late = [share for share in shares if share.pool.lane is None or not small]
    if not late:
        return await send_shares(shares, data, replies, deadline) and complete

    async def send_late(share: Share) -> bool:
        own = [data[index] for index in share.members]
        return share.put(await send_to(known, share.pool, own, deadline), replies)

    ready = [share for share in shares if share not in late]
    clean = await asyncio.gather(send_shares(ready, data, replies, deadline), *map(send_late, late))
    return all(clean) and complete


def _shares(known: ClusterMap, chunk: Chunk) -> tuple[list[Share], bool]:
    """Return what goes to each node; what has no owner is left out, which is told."""
    slots = known.slots
    pools: list[Mux | None] = [slots[slot] for slot in chunk.slots]
    if not chunk.plain:
        for index, slot in enumerate(chunk.slots):
            if slot == NO_SLOT:
                pools[index] = known.any_primary()
    groups: defaultdict[Mux | None, list[int]] = defaultdict(list)
    for index, pool in enumerate(pools):
        groups[pool].append(index)
    unowned = groups.pop(None, None)
    shares = []
    for pool, members in groups.items():
        if pool is not None:
            share = Share(pool)
            share.members = members
            shares.append(share)
    return shares, unowned is None
