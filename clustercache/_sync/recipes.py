"""What is made of a client's commands: pipelines, subscriptions, durable writes, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._durable import Wanted
from clustercache._scripts import Lock, Script
from clustercache._sync.durable import Durable
from clustercache._sync.pipeline import Pipeline
from clustercache._sync.pubsub import PubSub
from clustercache._sync.transaction import TransactionPipeline, transact
from clustercache.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable


class Recipes:
    """Methods of `Cluster`."""

    def pipeline(
        self,
        transaction: Any = None,
        shard_hint: Any = None,  # noqa: ARG002 - redis-py's
    ) -> Pipeline:
        """Return a pipeline: calls that are kept, and sent together by its `execute`.

        Args:
            transaction: Whether they are executed as one, MULTI to EXEC; their keys then share a
                slot, and `watch` is there.
            shard_hint: Ignored, as in redis-py.
        """
        client: Any = self
        return TransactionPipeline(client) if transaction else Pipeline(client)

    def transaction(
        self,
        func: Callable[[TransactionPipeline], Any],
        *watches: Any,
        value_from_callable: bool = False,
        watch_delay: float | None = None,
        shard_hint: Any = None,  # noqa: ARG002 - redis-py's
    ) -> Any:
        """Watch keys, call `func` with a pipeline, and execute what it kept; again if they changed.

        Args:
            func: Reads through the pipeline, calls its `multi()`, then calls what is to be kept.
            watches: Keys of one slot.
            value_from_callable: Return what `func` returned instead of the results.
            watch_delay: Seconds to wait before the next time.
            shard_hint: Ignored, as in redis-py.

        Raises:
            redis.exceptions.WatchError: They were changed again and again, until the deadline.
        """
        client: Any = self
        return transact(client, func, watches, value_from_callable, watch_delay)

    def pubsub(
        self,
        node: Any = None,
        host: Any = None,
        port: Any = None,
        *,
        ignore_subscribe_messages: bool = False,
        gaps: bool | Callable[[dict[str, Any]], object] | None = None,
        shard_hint: Any = None,  # noqa: ARG002 - redis-py's
        push_handler_func: Any = None,
    ) -> PubSub:
        """Return subscriptions to channels, patterns, shard channels and keyspace notifications.

        Args:
            node: Refused: each subscription goes to the nodes that it belongs on.
            host: As `node`.
            port: As `node`.
            ignore_subscribe_messages: Whether confirmations are kept back.
            gaps: Whether there are messages of type "gap", which say that others may be missing;
                None: unless confirmations are kept back. Or what is called with them instead.
            shard_hint: Ignored, as in redis-py.
            push_handler_func: Refused.
        """
        if (node, host, port, push_handler_func) != (None, None, None, None):
            msg = "pubsub() takes no node and no push handler: give handlers to subscribe()"
            raise InvalidArgumentError(msg)
        client: Any = self
        return PubSub(
            client._map,  # noqa: SLF001 - a part of the client
            client._limits,  # noqa: SLF001
            ignore_subscribe_messages=ignore_subscribe_messages,
            gaps=gaps,
            owner=client,
        )

    def durable(
        self,
        replicas: int = 1,
        timeout: float = 0.1,
        *,
        aof: bool = False,
        local: bool = False,
        strict: bool = False,
    ) -> Durable:
        """Return what writes and waits until replicas have it; by WAIT on the same connection.

        Args:
            replicas: How many replicas are waited for.
            timeout: Seconds to wait for them at most; a nearer deadline shortens it.
            aof: Wait until they have it on disk (WAITAOF: Redis 7.2, Valkey).
            local: Wait until the primary has it on disk, too; implies `aof`.
            strict: Raise NotReplicatedError when fewer have it in time.

        Example:
            >>> with r.durable(replicas=1) as d:  # doctest: +SKIP
            ...     d.set("k", "v")
            ...     d.acknowledged
            True
            1
        """
        wanted = Wanted(replicas=replicas, timeout=timeout, aof=aof, local=local, strict=strict)
        client: Any = self
        return Durable(client, wanted)

    def register_script(self, script: Any, *, repeatable: bool = False) -> Script:
        """Return a script that is called like a function: ``script(keys=[...], args=[...])``.

        Args:
            script: The source.
            repeatable: Whether it may be sent again when its reply was lost.
        """
        return Script(self, script, repeatable=repeatable)

    def lock(  # noqa: PLR0917 - redis-py's
        self,
        name: str,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,  # noqa: FBT001, FBT002 - redis-py's
        blocking_timeout: float | None = None,
        lock_class: Any = None,
        **options: Any,
    ) -> Lock:
        """Return a lock on a name, as in redis-py.

        Args:
            name: The key.
            timeout: Seconds after which it is free again; None keeps it until it is released.
            sleep: Seconds between two tries.
            blocking: Whether to wait for it at all.
            blocking_timeout: Seconds to wait at the most; None waits for ever.
            lock_class: What to make instead of `Lock`.
            options: redis-py's ``thread_local`` and ``raise_on_release_error``.
        """
        options |= {"sleep": sleep, "blocking": blocking, "blocking_timeout": blocking_timeout}
        made: Lock = (lock_class or Lock)(self, name, timeout=timeout, **options)
        return made
