"""Who is worth asking: a breaker for each shard, found by the keys that it has."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis import exceptions as redis_errors

from clustercache._core.slots import key_slot
from clustercache._limits import jitter
from clustercache.caching.breaker import Breaker, Passage
from clustercache.exceptions import (
    ClosedError,
    PoolTimeoutError,
    ShardUnavailableError,
    UntrustedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.exceptions import RedisError

    from clustercache._core.topology import Topology

_AWAY: Final = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ClusterDownError,
)
_NOT_AWAY: Final = (
    redis_errors.AuthenticationError,
    ClosedError,
    PoolTimeoutError,
    UntrustedError,
)
"""Of those, what no waiting mends, or what says nothing of the shard."""


_LONGEST: Final = 2.0
"""Seconds between two probes, at the most: so much longer than its outage a shard is not asked."""


class Outlook(Protocol):
    """What a client knows of the cluster."""

    topology: Topology | None


class Gate:
    """Keep calls from shards that are away, and find out when they are back.

    Attributes:
        tripped: Whether any shard may be away: as long as none is, nobody needs to ask.
    """

    def __init__(self, outlook: Outlook, probe: Callable[[str], object]) -> None:
        """Let all pass.

        Args:
            outlook: What the client knows of the cluster.
            probe: Reads a key where no caller waits for it, and tells `succeeded` or `failed`.
        """
        self._outlook = outlook
        self._probe = probe
        self._breakers: dict[Any, Breaker] = {}
        self.tripped = False

    def _shard(self, key: str) -> Any:
        """Return what stands for a key's shard: its primary, so that a new one starts anew."""
        topology = self._outlook.topology
        shard = None if topology is None else topology.slots[key_slot(key.encode())]
        return None if shard is None else shard.primary.address

    def admits(self, key: str) -> bool:
        """Tell whether a key's shard is to be asked; start a probe where one is due."""
        breaker = self._breakers.get(self._shard(key))
        if breaker is None or not breaker.is_open:
            return True
        passage = breaker.ask(monotonic())
        if passage is Passage.PROBE:
            self._probe(key)
        return passage is Passage.GO

    def is_shut(self, key: str) -> bool:
        """Tell whether a key's shard did not answer; unlike `admits`, start nothing."""
        breaker = self._breakers.get(self._shard(key))
        return breaker is not None and breaker.is_open

    def failed(self, key: str, error: RedisError) -> None:
        """Take note of an error."""
        if isinstance(error, _AWAY) and not isinstance(error, _NOT_AWAY):
            breaker = self._breakers.setdefault(self._shard(key), Breaker(longest=_LONGEST))
            breaker.failed(monotonic(), jitter())
            self.tripped = True

    def succeeded(self, key: str) -> None:
        """Take note of an answer; whoever answers is away no more."""
        self._breakers.pop(self._shard(key), None)
        topology = self._outlook.topology
        if topology is not None:
            primaries = {shard.primary.address for shard in topology.shards}
            for former in self._breakers.keys() - primaries:
                self._breakers.pop(former, None)
        if not self._breakers:
            self.tripped = False


class SkippedError(ShardUnavailableError):
    """A call was not sent, for its shard did not answer an earlier one."""


def skipped(key: str) -> SkippedError:
    """Return the error of a call that was not sent."""
    return SkippedError(
        "the shard did not answer a moment ago; it is probed, and asked again once it does",
        slot=key_slot(key.encode()),
    )
