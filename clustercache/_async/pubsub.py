"""`AsyncPubSub`: redis-py's for asyncio, for the whole cluster."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._async.subscriber import Subscriber
from clustercache._core.messages import Kind
from clustercache._core.subscriptions import Subscriptions
from clustercache._pubsub import BasePubSub
from clustercache.exceptions import ClosedError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from clustercache._async.knowledge import Knowledge
    from clustercache._core.messages import Event, Handler
    from clustercache._limits import LimitScope

    Message = dict[str, Any]
    ExceptionHandler = Callable[[BaseException, "AsyncPubSub"], object]


class AsyncPubSub(BasePubSub):
    """Messages of channels, patterns, shard channels and keyspace notifications, in one iterator.

    Subscriptions are desired state: after a failover, a lost connection or a moved slot they are
    back by themselves, on the right nodes. Messages may have been missed then, and a message of
    type "gap" says so. Any number of tasks may subscribe and listen; each message comes to one of
    them. What nobody took yet is kept up to 256 KiB; the nodes are read no further then.

    Handlers may be functions or coroutine functions.

    Example:
        >>> async with r.pubsub() as ps:  # doctest: +SKIP
        ...     await ps.subscribe("news")
        ...     async for message in ps.listen():
        ...         print(message)
    """

    def __init__(
        self,
        knowledge: Knowledge,
        limits: LimitScope,
        *,
        ignore_subscribe_messages: bool = False,
        gaps: bool | Handler | None = None,
        owner: object = None,
    ) -> None:
        """Open nothing yet; see `AsyncCluster.pubsub`.

        Args:
            knowledge: The client's maps.
            limits: The client's limits.
            ignore_subscribe_messages: See there.
            gaps: See there.
            owner: The client: it lives as long as this, for the map is not watched without it.
        """
        self._subscriber: Subscriber | None = None
        super().__init__(
            knowledge.config,
            limits,
            ignore_subscribe_messages=ignore_subscribe_messages,
            gaps=gaps,
            owner=owner,
        )
        self._knowledge = knowledge

    def _here(self) -> Subscriber:
        """Return what looks after the connections, on the running loop."""
        known, mine = self._knowledge.here().map, self._subscriber
        if mine is not None and mine.follows(known):
            return mine
        if mine is not None and not mine.over:
            if not mine.loop.is_closed():
                msg = "these subscriptions are in use on another loop: make others by pubsub() here"
                raise InvalidArgumentError(msg)
            mine.abandon()
        found = self._subscriber = Subscriber(known, mine.state if mine is not None else None)
        found.look()
        return found

    def _state(self) -> Subscriptions:
        return self._subscriber.state if self._subscriber is not None else Subscriptions()

    # Subscribing ------------------------------------------------------------------------------

    async def subscribe(self, *args: Any, **kwargs: Handler) -> None:
        """Subscribe to channels, and wait until their node has confirmed it.

        It does not wait longer than `socket_timeout`, nor while messages that nobody took fill the
        buffer: the subscription follows by itself then, also if the task is cancelled here.

        Args:
            args: Channels.
            kwargs: Channels with handlers, each called with its messages instead of their being
                returned.

        Raises:
            redis.RedisError: The server refused it, or no seed gave the topology.
        """
        await self._wait_for(Kind.CHANNEL, self._given(Kind.CHANNEL, args, kwargs))

    async def psubscribe(self, *args: Any, **kwargs: Handler) -> None:
        """Subscribe to patterns; see `subscribe`.

        A pattern that begins as keyspace notifications do (``__keyspace@0__:*``) is subscribed to
        on all primaries.
        """
        await self._wait_for(Kind.PATTERN, self._given(Kind.PATTERN, args, kwargs))

    async def ssubscribe(self, *args: Any, target_node: Any = None, **kwargs: Handler) -> None:
        """Subscribe to shard channels, in whatever slots; see `subscribe`.

        Args:
            args: Shard channels.
            target_node: Ignored: each channel is subscribed to on the primary of its slot.
            kwargs: Shard channels with handlers.
        """
        del target_node
        await self._wait_for(Kind.SHARD, self._given(Kind.SHARD, args, kwargs))

    async def keyspace(
        self, *keys: Any, handler: Handler | None = None, db: int | None = None
    ) -> None:
        """Subscribe to what happens to keys, on all primaries.

        Its messages are of type "pmessage", the channel ends with the key, and the data is the
        event. The servers must be told to send them: notify-keyspace-events with K.

        Args:
            keys: Keys, or glob patterns of them; all of them by default.
            handler: Called with each message instead of its being returned.
            db: The database's number, if it is not the client's.
        """
        names = self._keyspace_names("keyspace", keys, handler, db)
        await self._wait_for(Kind.PATTERN, names)

    async def keyevent(
        self, *events: Any, handler: Handler | None = None, db: int | None = None
    ) -> None:
        """Subscribe to events such as "expired", on all primaries; the data is the key.

        The servers must be told to send them: notify-keyspace-events with E.

        Args:
            events: Their names, or glob patterns of them; all of them by default.
            handler: Called with each message instead of its being returned.
            db: The database's number, if it is not the client's.
        """
        names = self._keyspace_names("keyevent", events, handler, db)
        await self._wait_for(Kind.PATTERN, names)

    async def unsubscribe(self, *args: Any) -> None:
        """Unsubscribe from channels, or from all of them."""
        self._leave(Kind.CHANNEL, args)

    async def punsubscribe(self, *args: Any) -> None:
        """Unsubscribe from patterns, or from all of them."""
        self._leave(Kind.PATTERN, args)

    async def sunsubscribe(self, *args: Any, target_node: Any = None) -> None:
        """Unsubscribe from shard channels, or from all of them."""
        del target_node
        self._leave(Kind.SHARD, args)

    async def _wait_for(self, kind: Kind, names: dict[bytes, Handler | None]) -> None:
        deadline = self._limits.in_force().deadline
        await self._knowledge.here().map.ensure(monotonic() + deadline)
        subscriber = self._here()
        limit = monotonic() + min(self._config.socket_timeout, deadline)
        subscriptions = subscriber.state.want(kind, names)
        subscriber.change()
        subscriber.keep_up()
        joining = subscriber.state.joining
        while joining(subscriptions) and not subscriber.paused and monotonic() < limit:
            subscriber.complain()
            await subscriber.wait(limit)
        subscriber.complain()

    def _leave(self, kind: Kind, args: tuple[Any, ...]) -> None:
        subscriber = self._here()
        subscriber.state.unwant(kind, self._to_leave(args))
        subscriber.change()
        subscriber.keep_up()

    # Messages ---------------------------------------------------------------------------------

    async def get_message(
        self,
        ignore_subscribe_messages: bool = False,  # noqa: FBT001, FBT002 - redis-py's
        timeout: float | None = 0.0,  # noqa: ASYNC109 - redis-py's
    ) -> Message | None:
        """Return the next message of any kind, or None if there is none yet.

        None comes before the timeout, too, when a handler took the message or it is ignored. A
        task that is cancelled while it waits takes no message with it.

        Args:
            ignore_subscribe_messages: Whether confirmations are kept back.
            timeout: Seconds to wait; None waits for ever.

        Raises:
            redis.RedisError: A server refused a subscription for good; it is not wanted any more.
            ReplyDecodeError: The message is no text; it is lost.
            ClosedError: The client was closed.
        """
        limit = None if timeout is None else monotonic() + timeout
        subscriber = self._here()
        while not subscriber.active:
            if not await subscriber.wait(limit):
                return None
        event = await self._next(subscriber, limit)
        return await self._handle(event, ignore=ignore_subscribe_messages)

    async def get_sharded_message(
        self,
        ignore_subscribe_messages: bool = False,  # noqa: FBT001, FBT002 - redis-py's
        timeout: float | None = 0.0,  # noqa: ASYNC109 - redis-py's
        target_node: Any = None,
    ) -> Message | None:
        """Return the next message of any kind, as `get_message` does."""
        del target_node
        return await self.get_message(ignore_subscribe_messages, timeout)

    async def listen(self) -> AsyncIterator[Message]:
        """Wait for messages and yield them, until nothing is subscribed any more."""
        while self.subscribed:
            event = await self._next(self._here(), None)
            message = await self._handle(event, ignore=False)
            if message is not None:
                yield message

    __aiter__ = listen

    @staticmethod
    async def _next(subscriber: Subscriber, limit: float | None) -> Event | None:
        """Return the next event, or None when time is up or nothing is subscribed any more."""
        while True:
            event = subscriber.next()
            if event is not None or not subscriber.active:
                return event
            if limit is not None and monotonic() >= limit:
                break
            await subscriber.wait(limit)
        # The loop has its turn before what came meanwhile is read, and nothing is taken between.
        await asyncio.sleep(0)
        subscriber.poll()
        return subscriber.next()

    async def _handle(self, event: Event | None, *, ignore: bool) -> Message | None:
        """Return an event as redis-py's message, unless it is handled or ignored."""
        message, handler = self._judge(event, self._knowledge.observer, ignore=ignore)
        if message is None or handler is None:
            return message
        handled = handler(message)
        if inspect.isawaitable(handled):
            await handled
        return None

    async def ping(self, message: Any = None) -> bool:
        """Send a PING to one of the nodes in use; its answer is a message of type "pong"."""
        known = self._knowledge.here().map
        await known.ensure(monotonic() + self._limits.in_force().deadline)
        subscriber = self._here()
        subscriber.ping(self._payload(message))
        subscriber.keep_up()
        return True

    async def run(
        self,
        *,
        exception_handler: ExceptionHandler | None = None,
        poll_timeout: float = 1.0,
        pubsub: Any = None,
    ) -> None:
        """Handle messages until the task is cancelled or the client closed.

        Args:
            exception_handler: Called with (exception, self) instead of ending it; may be a
                coroutine function.
            poll_timeout: Seconds that one wait for a message may take.
            pubsub: Whose `get_message` is called, if not this one's.

        Raises:
            redis.exceptions.PubSubError: A subscription has no handler.
        """
        self._need_handlers()
        source = self if pubsub is None else pubsub
        while True:
            try:
                await source.get_message(ignore_subscribe_messages=True, timeout=poll_timeout)
            except ClosedError:
                return
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                if exception_handler is None:
                    raise
                handled = exception_handler(error, self)
                if inspect.isawaitable(handled):
                    await handled
            await asyncio.sleep(0)  # the others have their turn also where nothing was waited for

    # The end ----------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Forget all subscriptions and close the connections; it may be used again."""
        subscriber = self._subscriber
        if subscriber is None:
            return
        if subscriber.loop is asyncio.get_running_loop():
            subscriber.reset()
        else:
            subscriber.let_go()

    reset = aclose

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.aclose()

    def __del__(self) -> None:
        """Close what its owner forgot."""
        with suppress(Exception):
            if self._subscriber is not None:
                self._subscriber.let_go()
