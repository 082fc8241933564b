"""`PubSub`: redis-py's, for the whole cluster."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._core.messages import Kind
from clustercache._pubsub import BasePubSub
from clustercache._sync.pubsub_thread import PubSubThread
from clustercache._sync.subscriber import TURN, Subscriber

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from clustercache._core.messages import Event, Handler, Subscription
    from clustercache._core.subscriptions import Subscriptions
    from clustercache._limits import LimitScope
    from clustercache._sync.cluster_map import ClusterMap
    from clustercache._sync.pubsub_thread import ExceptionHandler

    Message = dict[str, Any]


class PubSub(BasePubSub):
    """Messages of channels, patterns, shard channels and keyspace notifications, in one iterator.

    Subscriptions are desired state: after a failover, a lost connection or a moved slot they are
    back by themselves, on the right nodes. Messages may have been missed then, and a message of
    type "gap" says so. There is no thread behind it: connections are looked after while somebody
    asks for messages.

    Example:
        >>> with r.pubsub() as ps:  # doctest: +SKIP
        ...     ps.subscribe("news")
        ...     for message in ps.listen():
        ...         print(message)
    """

    def __init__(
        self,
        cluster_map: ClusterMap,
        limits: LimitScope,
        *,
        ignore_subscribe_messages: bool = False,
        gaps: bool | Handler | None = None,
        owner: object = None,
    ) -> None:
        """Open nothing yet; see `Cluster.pubsub`.

        Args:
            cluster_map: The client's map.
            limits: The client's limits.
            ignore_subscribe_messages: See there.
            gaps: See there.
            owner: The client: it lives as long as this, for the map is not watched without it.
        """
        super().__init__(
            cluster_map.config,
            limits,
            ignore_subscribe_messages=ignore_subscribe_messages,
            gaps=gaps,
            owner=owner,
        )
        self._map = cluster_map
        self._subscriber = Subscriber(cluster_map)
        self._awake = threading.Event()
        _pubsubs.add(self)

    # Subscribing ------------------------------------------------------------------------------

    def subscribe(self, *args: Any, **kwargs: Handler) -> None:
        """Subscribe to channels, and wait until their node has confirmed it.

        It does not wait longer than `socket_timeout`: the subscription follows by itself then.

        Args:
            args: Channels.
            kwargs: Channels with handlers, each called with its messages instead of their being
                returned.

        Raises:
            redis.RedisError: The server refused it, or no seed gave the topology.
        """
        self._join(Kind.CHANNEL, args, kwargs)

    def psubscribe(self, *args: Any, **kwargs: Handler) -> None:
        """Subscribe to patterns; see `subscribe`.

        A pattern that begins as keyspace notifications do (``__keyspace@0__:*``) is subscribed to
        on all primaries.
        """
        self._join(Kind.PATTERN, args, kwargs)

    def ssubscribe(self, *args: Any, target_node: Any = None, **kwargs: Handler) -> None:
        """Subscribe to shard channels, in whatever slots; see `subscribe`.

        Args:
            args: Shard channels.
            target_node: Ignored: each channel is subscribed to on the primary of its slot.
            kwargs: Shard channels with handlers.
        """
        del target_node
        self._join(Kind.SHARD, args, kwargs)

    def keyspace(self, *keys: Any, handler: Handler | None = None, db: int | None = None) -> None:
        """Subscribe to what happens to keys, on all primaries.

        Its messages are of type "pmessage", the channel ends with the key, and the data is the
        event. The servers must be told to send them: notify-keyspace-events with K.

        Args:
            keys: Keys, or glob patterns of them; all of them by default.
            handler: Called with each message instead of its being returned.
            db: The database's number, if it is not the client's.
        """
        self._join_keyspace("keyspace", keys, handler, db)

    def keyevent(self, *events: Any, handler: Handler | None = None, db: int | None = None) -> None:
        """Subscribe to events such as "expired", on all primaries; the data is the key.

        The servers must be told to send them: notify-keyspace-events with E.

        Args:
            events: Their names, or glob patterns of them; all of them by default.
            handler: Called with each message instead of its being returned.
            db: The database's number, if it is not the client's.
        """
        self._join_keyspace("keyevent", events, handler, db)

    def unsubscribe(self, *args: Any) -> None:
        """Unsubscribe from channels, or from all of them."""
        self._leave(Kind.CHANNEL, args)

    def punsubscribe(self, *args: Any) -> None:
        """Unsubscribe from patterns, or from all of them."""
        self._leave(Kind.PATTERN, args)

    def sunsubscribe(self, *args: Any, target_node: Any = None) -> None:
        """Unsubscribe from shard channels, or from all of them."""
        del target_node
        self._leave(Kind.SHARD, args)

    def _join_keyspace(
        self, family: str, names: tuple[Any, ...], handler: Handler | None, db: int | None
    ) -> None:
        self._wait_for(Kind.PATTERN, self._keyspace_names(family, names, handler, db))

    def _join(self, kind: Kind, args: tuple[Any, ...], handlers: dict[str, Handler]) -> None:
        self._wait_for(kind, self._given(kind, args, handlers))

    def _wait_for(self, kind: Kind, names: dict[bytes, Handler | None]) -> None:
        deadline = self._limits.in_force().deadline
        subscriber, now = self._subscriber, monotonic()
        self._map.ensure(now + deadline)
        limit = monotonic() + min(self._map.config.socket_timeout, deadline)
        with subscriber.lock:
            subscriptions = subscriber.state.want(kind, names)
            subscriber.change()
            self._awake.set()
        while subscriber.state.joining(subscriptions) and (now := monotonic()) < limit:
            subscriber.complain()
            subscriber.turn(min(limit - now, TURN))
        subscriber.complain()

    def _leave(self, kind: Kind, args: tuple[Any, ...]) -> None:
        names = self._to_leave(args)
        with self._subscriber.lock:
            self._subscriber.state.unwant(kind, names)
            self._subscriber.change()
            self._awake.set()
        self._subscriber.turn(0)

    def _state(self) -> Subscriptions:
        return self._subscriber.state

    def _handlers(self) -> list[tuple[Subscription, Handler | None]]:
        with self._subscriber.lock:
            return super()._handlers()

    # Messages ---------------------------------------------------------------------------------

    def get_message(
        self,
        ignore_subscribe_messages: bool = False,  # noqa: FBT001, FBT002 - redis-py's
        timeout: float | None = 0.0,
    ) -> Message | None:
        """Return the next message of any kind, or None if there is none yet.

        None comes before the timeout, too, when a handler took the message or it is ignored.

        Args:
            ignore_subscribe_messages: Whether confirmations are kept back.
            timeout: Seconds to wait; None waits for ever.

        Raises:
            redis.RedisError: A server refused a subscription for good; it is not wanted any more.
            ReplyDecodeError: The message is no text; it is lost.
            ClosedError: The client was closed.
        """
        limit = None if timeout is None else monotonic() + timeout
        with self._subscriber.lock:
            if not self._subscriber.active:
                self._awake.clear()
        if not self._awake.wait(timeout):
            return None
        return self._handle(self._next(limit), ignore=ignore_subscribe_messages)

    def get_sharded_message(
        self,
        ignore_subscribe_messages: bool = False,  # noqa: FBT001, FBT002 - redis-py's
        timeout: float | None = 0.0,
        target_node: Any = None,
    ) -> Message | None:
        """Return the next message of any kind, as `get_message` does."""
        del target_node
        return self.get_message(ignore_subscribe_messages, timeout)

    def listen(self) -> Iterator[Message]:
        """Wait for messages and yield them, until nothing is subscribed any more."""
        while self.subscribed:
            message = self._handle(self._next(None), ignore=False)
            if message is not None:
                yield message

    __iter__ = listen

    def _next(self, limit: float | None) -> Event | None:
        """Return the next event, or None when time is up or nothing is subscribed any more."""
        subscriber, late = self._subscriber, False
        while True:
            event = subscriber.next()
            if event is not None or late or not subscriber.active:
                return event
            left = TURN if limit is None else max(min(limit - monotonic(), TURN), 0.0)
            subscriber.turn(left)
            late = limit is not None and monotonic() >= limit

    def _handle(self, event: Event | None, *, ignore: bool) -> Message | None:
        """Return an event as redis-py's message, unless it is handled or ignored."""
        message, handler = self._judge(event, self._map.observer, ignore=ignore)
        if message is None or handler is None:
            return message
        handler(message)
        return None

    def ping(self, message: Any = None) -> bool:
        """Send a PING to one of the nodes in use; its answer is a message of type "pong"."""
        self._map.ensure(monotonic() + self._limits.in_force().deadline)
        self._awake.set()
        self._subscriber.ping(self._payload(message))
        return True

    def run_in_thread(
        self,
        sleep_time: float = 0.0,
        daemon: bool = False,  # noqa: FBT001, FBT002 - redis-py's
        exception_handler: ExceptionHandler | None = None,
    ) -> PubSubThread:
        """Handle messages in a thread of its own, until its `stop` is called.

        Args:
            sleep_time: Seconds that the thread waits for a message before it looks whether to stop
                (at least 0.05).
            daemon: Whether the process may end without waiting for it.
            exception_handler: Called with (exception, self, thread) instead of ending the thread.

        Raises:
            redis.exceptions.PubSubError: A subscription has no handler.
        """
        self._need_handlers()
        thread = PubSubThread(self, max(sleep_time, TURN), exception_handler, daemon=daemon)
        thread.start()
        return thread

    # The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Forget all subscriptions and close the connections; it may be used again."""
        self._subscriber.reset()

    reset = close

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Close what its owner forgot."""
        with suppress(Exception):
            self.close()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self._awake = threading.Event()
        self._awake.set()


_pubsubs: weakref.WeakSet[PubSub] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pubsub in list(_pubsubs):
        pubsub.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
