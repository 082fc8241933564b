"""redis-py's iterators over scans, whose steps (see `_scans`) are taken here."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from clustercache import _scans
from clustercache._commands import Commands
from clustercache._scans import Ask, Execute, Items, Learn, Rest, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clustercache._scans import Step, Steps
    from clustercache._sync.cluster import Cluster


class ScanAccess(Commands):
    """redis-py's iterators over scans, made to survive a change of the cluster."""

    def scan_iter(
        self,
        match: Any = None,
        count: int | None = None,
        _type: str | None = None,
        *,
        parallel: bool = False,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Iterate over the keys of all primaries, each at least once, whatever moves meanwhile.

        A key that is there from the beginning to the end is found, also if its slot is moved or
        its primary is replaced; it may then be found more than once.

        Args:
            match: Only keys that match this glob-style pattern.
            count: About how many keys a node looks at for each reply.
            _type: Only keys of this type ("string", "list", "set", "zset", "hash", "stream").
            parallel: Ask all primaries at once, and not one after the other.
            kwargs: ``target=`` scans these nodes and nothing else, as they are.
        """
        client = cast("Cluster", self)
        words = {"MATCH": match, "COUNT": count, "TYPE": _type}
        steps = _scans.keys(client, words, kwargs, parallel=parallel)
        return chain.from_iterable(_found(client, steps))

    def sscan_iter(self, name: Any, match: Any = None, count: int | None = None) -> Iterator[Any]:
        """Iterate over the members of the set at `name`, each at least once."""
        client = cast("Cluster", self)
        steps = _scans.members(client, "SSCAN", name, match=match, count=count)
        return chain.from_iterable(_found(client, steps))

    def hscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        no_values: bool | None = None,  # noqa: FBT001 - redis-py's
    ) -> Iterator[Any]:
        """Iterate over the hash at `name`: (field, value) pairs, or the fields if `no_values`."""
        client = cast("Cluster", self)
        words, options = ("NOVALUES",) if no_values else (), {"no_values": no_values}
        steps = _scans.members(client, "HSCAN", name, *words, match=match, count=count, **options)
        return chain.from_iterable(_found(client, steps))

    def zscan_iter(
        self,
        name: Any,
        match: Any = None,
        count: int | None = None,
        score_cast_func: Any = float,
    ) -> Iterator[Any]:
        """Iterate over the sorted set at `name`: (member, score) pairs."""
        client = cast("Cluster", self)
        options = {"score_cast_func": score_cast_func}
        steps = _scans.members(client, "ZSCAN", name, match=match, count=count, **options)
        return chain.from_iterable(_found(client, steps))


def _found(client: Cluster, steps: Steps) -> Iterator[Any]:
    """Take the steps of a scan; yield what is found, some at a time."""
    outcome = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration:
            return
        if isinstance(step, Items):
            yield step.found
            outcome = None
        else:
            outcome = _done(client, step)


def _done(client: Cluster, step: Step) -> Any:
    """Do a step; return its outcome."""
    known = client._map  # noqa: SLF001 - a part of the client
    match step:
        case Learn(deadline):
            known.ensure(deadline)
            return known
        case Ask(command, parts, aims):
            return client._batches.run(command, parts, aims)[0]  # noqa: SLF001
        case Run(request):
            return client._executor.run(request)  # noqa: SLF001
        case Execute(args, options):
            return client.execute_command(*args, **options)
        case Rest(seconds):
            known.helper.rest(seconds)
            known.refresh(())
    return None
