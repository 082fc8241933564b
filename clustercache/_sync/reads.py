"""`Reads`: what a client does for reads whose policy is not the default."""

# The direct path is laid out for speed: what it finds in its first block is there in its second.
# mypy: disable-error-code="possibly-undefined"

from __future__ import annotations

from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._commands import SPECIAL
from clustercache._core import wire
from clustercache._core.slots import key_slot
from clustercache._core.wire import ServerError
from clustercache._direct import READS
from clustercache._events import NoReply, NotSent, Silent
from clustercache._readers import ReadRequest
from clustercache._request import Command, Failed, merged
from clustercache._sync.pool import Stale
from clustercache._sync.readers import Readers
from clustercache._sync.replica_reads import ReadExecutor
from clustercache._sync.split_reads import SplitReads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache._core.routing import Part
    from clustercache._readers import Reader
    from clustercache._sync.cluster import Cluster
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.connection import Connection
    from clustercache._sync.executor import First
    from clustercache._sync.pool import Pool
    from clustercache.config import ClusterConfig


class Reads:
    """Runs reads by their policies, on connections to replicas of its own."""

    def __init__(self, cluster_map: ClusterMap, config: ClusterConfig) -> None:
        """Open nothing yet."""
        self.readers = Readers(cluster_map, config.reads(config.read_from))
        self._executor = ReadExecutor(cluster_map, self.readers)

    def run(self, command: Command, parts: list[Part]) -> Any:
        """Return the reply to a read."""
        if len(parts) == 1:
            return self._executor.run(ReadRequest(command, parts[0], next(self.readers.turns)))
        split = SplitReads(self.readers, self._executor, command.limits.read_from)
        return merged(command, parts, *split.run(command, parts))

    def go_on(
        self, command: Command, reader: Reader, connection: Connection | None, why: First
    ) -> Any:
        """Return the reply to a read after its first attempt, which was made elsewhere."""
        request = ReadRequest(command, command.parts()[0], next(self.readers.turns), reader)
        first = self._executor.first(request, reader.pool, connection, why)
        return self._executor.run(request, first) if type(first) is Failed else first

    def close(self) -> None:
        """Close all connections to replicas, once calls under way are done."""
        self.readers.close()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self.readers.after_fork()


def merged_stats(pools: Iterable[Pool]) -> dict[str, dict[str, Any]]:
    """Return what happened, by node: one has two pools where it serves reads as a replica."""
    nodes: dict[str, dict[str, Any]] = {}
    for pool in pools:
        facts, before = pool.stats(), nodes.get(str(pool.address))
        if before is not None:
            last = facts.pop("last_round_trip")
            facts = {name: before[name] + fact for name, fact in facts.items()}
            facts["suspected"] = bool(facts["suspected"])
            facts["last_round_trip"] = before["last_round_trip"] if last is None else last
        nodes[str(pool.address)] = facts
    return nodes


class DirectReads:
    """The direct path of a client whose policy is not the default."""

    def __init__(self, client: Cluster, reads: Reads, others: Callable[..., Any]) -> None:
        """Serve a client; `others` is where commands go that are no plain reads."""
        self._client = client
        self._reads = reads
        self._readers = reads.readers
        self._map = reads.readers.map
        # Not the executor's: a call that goes on there would take two turns, and always miss one.
        self._turns = count()
        self._measures = reads.readers.policy.by_latency
        self._others = others

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: C901, PLR0912 - one path
        """Send a command and return its result, plain reads where the policy says."""
        connection: Connection | None = None
        try:
            place, longest = READS[args[0]]
        except (LookupError, TypeError):
            return self._others(*args, **options)
        now = monotonic()
        try:
            plain = len(args) <= longest and (not options or SPECIAL.isdisjoint(options))
            if plain and self._client._limited() is None:  # noqa: SLF001
                followed = self._readers.followed
                shard: Any = followed.slots[key_slot(args[place])]
                if now < shard.until and followed.topology is self._map.topology:
                    first = shard.first
                    reader: Reader = first[next(self._turns) % len(first)]
                    pool = reader.pool
                    if pool.suspicion is None and now < reader.check_due:
                        data = wire.pack(args)
                        connection = pool.idle.pop()
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case, or no idle connection: nothing was sent
        client = self._client
        if connection is None:
            return client._execute(args, options)  # noqa: SLF001
        connection.leased = True
        if self._map.observer.active:
            self._map.observer.sent_to(pool.address)
        trouble: First | None = None
        try:
            fresh = now - connection.idle_since < client._trusted  # noqa: SLF001
            if (fresh and not connection.has_surplus()) or not connection.is_stale():
                reply = connection.exchange(data, now + client._deadline)  # noqa: SLF001
            else:
                trouble = Stale()
        except (NotSent, NoReply, Silent) as error:
            trouble = error
        except BaseException:
            pool.discard(connection)
            raise
        if trouble is not None:
            return self._resume(args, options, now, (reader, connection, trouble))
        then = monotonic()
        pool.last_round_trip = then - now
        if self._measures:
            reader.measured(then - now)
        pool.release(connection, then)
        if type(reply) is ServerError:
            return self._resume(args, options, now, (reader, None, reply))
        callback = client._callbacks.get(args[0])  # noqa: SLF001
        if callback is None:
            return reply
        options.pop("keys", None)
        return callback(reply, **options)

    def _resume(
        self,
        args: Any,
        options: dict[str, Any],
        began: float,
        attempt: tuple[Reader, Connection | None, First],
    ) -> Any:
        """Go on with a direct read after its first attempt, with the whole table of decisions."""
        client = self._client
        command = Command(args, client._limits.in_force(), began, decode=True)  # noqa: SLF001
        reply = self._reads.go_on(command, *attempt)
        return client._result(command.spec, reply, options)  # noqa: SLF001
