"""redis-py's command methods over `execute_command`, and its results.

This is the only module that touches redis-py beyond its exceptions; the floors and the newest
versions both test it. The hot few commands are written out here, because redis-py spends more on
their arguments than the whole trip through this client takes.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from redis._parsers.base import BaseParser
from redis._parsers.encoders import Encoder
from redis._parsers.helpers import bool_ok
from redis._parsers.response_callbacks import get_response_callbacks
from redis.asyncio.lock import Lock as RedisAsyncLock
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.cluster import (
    parse_cluster_myshardid,
    parse_cluster_shards,
    parse_cluster_shards_unified,
    parse_cluster_shards_with_str_keys,
    parse_cluster_slots,
)
from redis.commands import AsyncRedisClusterCommands, RedisClusterCommands
from redis.commands.core import AsyncScript as RedisAsyncScript
from redis.commands.core import Script as RedisScript
from redis.credentials import CredentialProvider as RedisProvider
from redis.lock import Lock as RedisLock

from clustercache._core.commands import Merge
from clustercache.exceptions import UnsupportedCommandError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from clustercache._core.wire import ServerError
    from clustercache.config import ClusterConfig

__all__ = [
    "EMPTY_RESPONSE",
    "NEVER_DECODE",
    "REPEATABLE",
    "AsyncCommands",
    "Commands",
    "RedisAsyncLock",
    "RedisAsyncScript",
    "RedisLock",
    "RedisScript",
    "callbacks_for",
    "merge_nodes",
    "own_async_provider",
    "to_error",
]

REPEATABLE = "repeatable"
"""The option of a call that leaves the same state, and gives the same reply, when applied twice."""


def callbacks_for(config: ClusterConfig) -> dict[str, Callable[..., Any]]:
    """Return redis-py's reply callbacks for this protocol, by command name in capitals."""
    callbacks = dict(get_response_callbacks(config.protocol, config.legacy_responses))
    if not config.legacy_responses:
        shards = parse_cluster_shards_unified
    elif config.protocol is None:
        shards = parse_cluster_shards_with_str_keys
    else:
        shards = parse_cluster_shards
    callbacks["CLUSTER SLOTS"] = parse_cluster_slots
    callbacks["CLUSTER SHARDS"] = shards
    callbacks["CLUSTER MYSHARDID"] = parse_cluster_myshardid
    # redis-py's cluster client gives a bool here, too; its others do without a callback.
    callbacks.setdefault("CLIENT UNPAUSE", bool_ok)
    return {name.upper(): callback for name, callback in callbacks.items()}


def to_error(error: ServerError) -> Exception:
    """Return redis-py's exception for a server's error reply."""
    made: Exception = BaseParser.parse_error(error.text)  # type: ignore[no-untyped-call]
    return made


def encoder_for(config: ClusterConfig) -> Encoder:
    """Return redis-py's encoder, which its scripts and ACL methods ask for."""
    return Encoder(  # type: ignore[no-untyped-call]
        config.encoding, config.encoding_errors, config.decode_responses
    )


def own_async_provider(provider: Any) -> Callable[[], Awaitable[Any]] | None:
    """Return a credential provider's `get_credentials_async`, or None if it has none of its own.

    What redis-py's base class has of that name warns, and blocks.
    """
    found = getattr(provider, "get_credentials_async", None)
    base = RedisProvider.get_credentials_async
    return None if getattr(found, "__func__", None) is base else found


def merge_nodes(merge: Merge, replies: Mapping[str, Any]) -> Any:
    """Return one result from several nodes' results (by "host:port"), as redis-py's cluster does.

    Where there is no way to merge them, the result is the mapping itself.
    """
    if merge is Merge.CURSORS:
        cursors = {name: cursor for name, (cursor, _) in replies.items()}
        return cursors, [key for _, keys in replies.values() for key in keys]
    values = list(replies.values())
    if len(values) == 1:
        return values[0]
    one_from = _MERGES.get(merge)
    return dict(replies) if one_from is None else one_from(values)


def _sum_of_counts(values: Sequence[Any]) -> list[tuple[Any, int]]:
    totals: Counter[Any] = Counter()
    for value in values:
        totals.update(dict(value))
    return list(totals.items())


def _judged(judge: Callable[[Sequence[Any]], bool], values: Sequence[Any]) -> Any:
    return judge(values) if all(isinstance(v, bool) for v in values) else values[-1]


_MERGES: dict[Merge, Callable[[Sequence[Any]], Any]] = {
    Merge.ALL: lambda values: _judged(all, values),
    Merge.ONE: lambda values: _judged(any, values),
    Merge.PICK: lambda values: random.choice([v for v in values if v is not None] or [None]),  # noqa: S311
    Merge.SUM: sum,
    Merge.AND: lambda values: [all(column) for column in zip(*values, strict=True)],
    Merge.UNION: lambda values: list(dict.fromkeys(item for value in values for item in value)),
    Merge.COUNTS: _sum_of_counts,
}


_WATCHING = "not on a shared connection: use pipeline(transaction=True)"

SPECIAL = frozenset({"target_nodes", "target", EMPTY_RESPONSE, NEVER_DECODE, REPEATABLE})
"""Options of a call that are this client's own; the others are for redis-py's reply callbacks."""


def for_callback(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a call's options that its reply callback takes."""
    return {name: value for name, value in options.items() if name not in _NOT_FOR_CALLBACKS}


_NOT_FOR_CALLBACKS = SPECIAL | {"keys"}


class HotCommands:
    """The hot few, for both kinds of client: each returns what `execute_command` does."""

    if TYPE_CHECKING:
        # A type checker sees redis-py's own signatures, which tell sync results from async ones.

        def execute_command(self, *args: Any, **options: Any) -> Any:
            """Send a command and return its result."""

    else:

        def get(self, name: Any) -> Any:
            """Return the value at `name`, or None."""
            return self.execute_command("GET", name)

        def set(self, name: Any, value: Any, ex: Any = None, *args: Any, **kwargs: Any) -> Any:
            """Set the value at `name`; arguments and results are redis-py's.

            Args:
                name: The key.
                value: bytes, str, int or float.
                ex: Seconds (or a timedelta) until it expires.
                args: redis-py's px, nx, xx, keepttl, get, exat, pxat, ... in this order.
                kwargs: The same by name.
            """
            if args or kwargs or (ex is not None and type(ex) is not int):
                return super().set(name, value, ex, *args, **kwargs)
            if ex is None:
                return self.execute_command("SET", name, value)
            return self.execute_command("SET", name, value, "EX", ex)

        def delete(self, *names: Any) -> Any:
            """Delete the keys, in whatever slots, and return how many there were."""
            return self.execute_command("DEL", *names)

        def unlink(self, *names: Any) -> Any:
            """Delete the keys, in whatever slots, their memory freed later; return how many."""
            return self.execute_command("UNLINK", *names)

        def exists(self, *names: Any) -> Any:
            """Return how many of the keys exist, in whatever slots; one named twice is two."""
            return self.execute_command("EXISTS", *names)

        def touch(self, *names: Any) -> Any:
            """Renew the keys' time of last access, and return how many there were."""
            return self.execute_command("TOUCH", *names)

        def watch(self, *names: Any) -> Any:  # noqa: ARG002 - redis-py's
            """Refuse: what is watched belongs to one connection."""
            raise UnsupportedCommandError(_WATCHING, command="WATCH")

        def unwatch(self) -> Any:
            """Refuse, as `watch`."""
            raise UnsupportedCommandError(_WATCHING, command="UNWATCH")

        def multi(self) -> Any:
            """Refuse, as `watch`."""
            raise UnsupportedCommandError(_WATCHING, command="MULTI")

        def discard(self) -> Any:
            """Refuse, as `watch`."""
            raise UnsupportedCommandError(_WATCHING, command="DISCARD")

        def hget(self, name: Any, key: Any) -> Any:
            """Return the value of field `key` of the hash at `name`, or None."""
            return self.execute_command("HGET", name, key)

        def hgetall(self, name: Any) -> Any:
            """Return the hash at `name` as a dict."""
            return self.execute_command("HGETALL", name)

        def mget(self, keys: Any, *args: Any) -> Any:
            """Return the values of the keys, in whatever slots, in their order; None where none is.

            Args:
                keys: One key, or an iterable of keys.
                args: More keys.
            """
            if isinstance(keys, (str, bytes, bytearray, memoryview, int, float)):
                keys = (keys,)
            return self.execute_command("MGET", *keys, *args)

        def mget_nonatomic(self, keys: Any, *args: Any) -> Any:
            """Do what `mget` does here: keys may live in any slots."""
            return self.mget(keys, *args)


class Commands(HotCommands, RedisClusterCommands):
    """Every command method of redis-py's cluster client."""

    if TYPE_CHECKING:
        _event_dispatcher: Any

    else:

        def mset_nonatomic(self, mapping: Mapping[Any, Any]) -> Any:
            """Set the pairs, in whatever slots; the result is a list, as in redis-py."""
            return [self.mset(mapping)]


class AsyncCommands(HotCommands, AsyncRedisClusterCommands):  # type: ignore[misc]
    """Every command method of redis-py's asyncio cluster client."""

    if TYPE_CHECKING:
        _event_dispatcher: Any

    else:

        async def mset_nonatomic(self, mapping: Mapping[Any, Any]) -> Any:
            """Set the pairs, in whatever slots; the result is a list, as in redis-py."""
            return [await self.mset(mapping)]
