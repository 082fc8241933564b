"""Pipelines: many calls in one write to each node, their results in the order of the calls."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self

from clustercache._commands import Commands
from clustercache._queue import Queued
from clustercache._request import NO_SLOT, Failed, Unsure
from clustercache._sync.exchange import NOT_TRIED, Share, exchange
from clustercache._sync.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from clustercache._core.batch import Unit
    from clustercache._limits import Limits
    from clustercache._sync.cluster import Cluster
    from clustercache._sync.pool import Pool

WINDOW = 10_000
"""Calls that are under way at a time: what bounds a long pipeline's memory, here and there."""


class Pipeline(Commands):
    """Calls that are kept and sent together by `execute`.

    Keys may live in any slots, and multi-key commands are split as on the client. Calls on one key
    are executed in their order; calls on different keys need not be. Not thread-safe.
    """

    _is_async_client: Literal[False] = False

    def __init__(self, client: Cluster) -> None:
        """Begin empty; see `Cluster.pipeline`."""
        self._client = client
        self._queue: list[Queued] = []
        self.encoder = client.encoder

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Keep a call for `execute`, checked and packed; return the pipeline."""
        client = self._client
        limits = client._limits.in_force()  # noqa: SLF001 - a part of the client
        try:
            call = Queued(args, options, limits, client._map.single)  # noqa: SLF001
        except Unsure:
            client._map.ensure(monotonic() + limits.deadline)  # noqa: SLF001
            call = Queued(args, options, limits, client._map.single)  # noqa: SLF001
        self._queue.append(call)
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - redis-py's
        """Send all calls and return their results in order.

        Args:
            raise_on_error: Raise the first error, naming the call's number, once all were sent;
                False leaves each error in its place among the results.
        """
        queue, self._queue = self._queue, []
        results: list[Any] = []
        for begin in range(0, len(queue), WINDOW):
            results += self._run(queue[begin : begin + WINDOW])
        if raise_on_error:
            for number, result in enumerate(results):
                if isinstance(result, Exception):
                    raise _numbered(result, number, queue[number].name)
        return results

    def _run(self, queue: Sequence[Queued]) -> list[Any]:
        """Return the results of some calls."""
        client = self._client
        limits = client._limits.in_force()  # noqa: SLF001
        now = monotonic()
        deadline = now + limits.deadline
        client._map.ensure(deadline)  # noqa: SLF001
        pieces = [piece for call in queue for piece in call.pieces]
        replies, clean = self._first_round(pieces, deadline)
        if not clean:
            replies = self._further_rounds(queue, replies, limits, now)
        callbacks = client._callbacks  # noqa: SLF001
        if len(pieces) == len(queue):
            shares = ([reply] for reply in replies)
        else:
            left = iter(replies)
            shares = ([next(left) for _ in call.pieces] for call in queue)
        return [
            call.result(share, callbacks, limits) for call, share in zip(queue, shares, strict=True)
        ]

    def _first_round(
        self, pieces: Sequence[tuple[int, bytes]], deadline: float
    ) -> tuple[list[Any], bool]:
        """Write everything, and return what came back for each piece; and whether all is well."""
        cluster_map = self._client._map  # noqa: SLF001
        slots = cluster_map.slots
        groups: dict[Pool | None, list[int]] = {}
        find = groups.get
        for index, (slot, _) in enumerate(pieces):
            pool = slots[slot] if slot != NO_SLOT else cluster_map.any_primary()
            members = find(pool)
            if members is None:
                groups[pool] = [index]
            else:
                members.append(index)
        unowned = groups.pop(None, None)
        ordered = sorted(groups.items(), key=lambda group: group[0].address)  # type: ignore[union-attr]
        shares = [Share(pool, [pieces[i][1] for i in members]) for pool, members in ordered]  # type: ignore[arg-type]
        exchange(cluster_map, shares, deadline, peek=True)
        replies: list[Any] = [NOT_TRIED] * len(pieces)
        for (_, members), share in zip(ordered, shares, strict=True):
            for index, outcome in zip(members, share.outcomes, strict=True):
                replies[index] = outcome
        return replies, unowned is None and all(share.clean for share in shares)

    def _further_rounds(
        self, queue: Sequence[Queued], replies: list[Any], limits: Limits, now: float
    ) -> list[Any]:
        """Return the replies once everything has one, or has failed."""
        left = iter(enumerate(replies))
        units: list[Unit] = []
        places: dict[Unit, int] = {}
        first: list[tuple[Unit, Any]] = []
        for order, call in enumerate(queue):
            at = [next(left) for _ in call.pieces]
            for unit, (index, reply) in zip(call.units(order, limits, now), at, strict=True):
                units.append(unit)
                places[unit] = index
                if type(reply) is Failed or reply is NOT_TRIED:
                    first.append((unit, reply))
                else:
                    unit.done = True
        rounds = Rounds(self._client._map, units, limits, now + limits.deadline)  # noqa: SLF001
        for unit, reply in rounds.run(first).items():
            replies[places[unit]] = reply
        return replies

    def reset(self) -> None:  # type: ignore[override]  # the command RESET, in the mixins
        """Forget the calls that were kept."""
        self._queue = []

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._queue)

    def __bool__(self) -> bool:
        """Tell that it is there, also while it is empty."""
        return True

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


def _numbered(error: Exception, number: int, name: str) -> Exception:
    """Let an error say which call of the pipeline it is from; never its arguments."""
    prefix = f"Command # {number + 1} ({name}) of pipeline caused error: "
    error.args = (prefix + str(error.args[0] if error.args else error), *error.args[1:])
    return error
