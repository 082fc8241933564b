"""What an `AsyncCluster` makes of itself for those who want messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._async.pubsub import AsyncPubSub
from clustercache.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable


class Subscribing:
    """The part of `AsyncCluster` that subscribes."""

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
    ) -> AsyncPubSub:
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
        return AsyncPubSub(
            client._knowledge,  # noqa: SLF001 - a part of the client
            client._limits,  # noqa: SLF001
            ignore_subscribe_messages=ignore_subscribe_messages,
            gaps=gaps,
            owner=client,
        )
