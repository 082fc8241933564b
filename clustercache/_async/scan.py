"""redis-py's iterators over scans, whose steps (see `_scans`) are taken here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Self, cast

from clustercache import _scans
from clustercache._scans import Ask, Execute, Items, Learn, Rest, Run

if TYPE_CHECKING:
    from clustercache._async.cluster import AsyncCluster
    from clustercache._scans import Step, Steps


class Found(AsyncIterator[Any]):
    """What a scan finds. Left early it leaves nothing behind: it is no generator of the loop's."""

    def __init__(self, client: AsyncCluster, steps: Steps) -> None:
        """Begin nothing yet."""
        self._client = client
        self._steps = steps
        self._items: deque[Any] = deque()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Any:
        """Return what is found next."""
        outcome = None
        while not self._items:
            try:
                step = self._steps.send(outcome)
            except StopIteration:
                raise StopAsyncIteration from None
            outcome = None
            if isinstance(step, Items):
                self._items.extend(step.found)
            else:
                outcome = await self._done(step)
        return self._items.popleft()

    async def aclose(self) -> None:
        """Find nothing more."""
        self._steps.close()
        self._items.clear()

    async def _done(self, step: Step) -> Any:
        """Do a step; return its outcome. The scan ends if that fails, or is cancelled."""
        try:
            return await self._do(step)
        except BaseException:
            self._steps.close()
            raise

    async def _do(self, step: Step) -> Any:
        runner = self._client._here()  # noqa: SLF001 - a part of the client
        match step:
            case Learn(deadline):
                await runner.map.ensure(deadline)
                return runner.map
            case Ask(command, parts, aims):
                return (await runner.batches.run(command, parts, aims))[0]
            case Run(request):
                return await runner.executor.run(request)
            case Execute(args, options):
                return await self._client.execute_command(*args, **options)
            case Rest(seconds):
                await asyncio.sleep(seconds)
                await runner.map.refresh(())
        return None


class ScanAccess:
    """redis-py's iterators over scans, made to survive a change of the cluster."""

    def scan_iter(
        self,
        match: Any = None,
        count: int | None = None,
        _type: str | None = None,
        *,
        parallel: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Iterate over the keys of all primaries, each at least once, whatever moves meanwhile.

        A key that is there from the beginning to the end is found, also if its slot is moved or
        its primary is replaced; it may then be found more than once.

        Args:
            match: Only keys that match this glob-style pattern.
            count: About how many keys a node looks at for each reply.
            _type: Only keys of this type ("string", "list", "set", "zset", "hash", "stream").
            parallel: Ask all primaries at once, and not one after the other.
            kwargs: ``target=`` scans these nodes and nothing else, as they are.

        Example:
            >>> async for key in r.scan_iter("user:*"): ...  # doctest: +SKIP
        """
        client = cast("AsyncCluster", self)
        words = {"MATCH": match, "COUNT": count, "TYPE": _type}
        return Found(client, _scans.keys(client, words, kwargs, parallel=parallel))

    def sscan_iter(
        self, name: Any, match: Any = None, count: int | None = None
    ) -> AsyncIterator[Any]:
        """Iterate over the members of the set at `name`, each at least once."""
        client = cast("AsyncCluster", self)
        return Found(client, _scans.members(client, "SSCAN", name, match=match, count=count))

    def hscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        no_values: bool | None = None,  # noqa: FBT001 - redis-py's
    ) -> AsyncIterator[Any]:
        """Iterate over the hash at `name`: (field, value) pairs, or the fields if `no_values`."""
        client = cast("AsyncCluster", self)
        words, options = ("NOVALUES",) if no_values else (), {"no_values": no_values}
        steps = _scans.members(client, "HSCAN", name, *words, match=match, count=count, **options)
        return Found(client, steps)

    def zscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        score_cast_func: Any = float,
    ) -> AsyncIterator[Any]:
        """Iterate over the sorted set at `name`: (member, score) pairs."""
        client = cast("AsyncCluster", self)
        options = {"score_cast_func": score_cast_func}
        steps = _scans.members(client, "ZSCAN", name, match=match, count=count, **options)
        return Found(client, steps)
