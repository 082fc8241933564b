"""What users see of their subscriptions: names, messages, and who handles them.

Both shells use it; how messages are waited for is theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import PubSubError

from clustercache._core.messages import GAP, Kind, keyspace_pattern, named, shaped
from clustercache._core.slots import encode
from clustercache.exceptions import InvalidArgumentError, ReplyDecodeError
from clustercache.instrumentation import PubSubGap

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache._core.messages import Event, Handler, Subscription
    from clustercache._core.subscriptions import Subscriptions
    from clustercache._limits import LimitScope
    from clustercache.config import ClusterConfig
    from clustercache.instrumentation.hooks import Observer

    Message = dict[str, Any]

_CONFIRMATIONS = frozenset(word for kind in Kind for word in (kind.joins, kind.leaves))


class Delivery(NamedTuple):
    """What becomes of an event: it is handled, or handed out, or (with neither) ignored."""

    message: Message | None = None
    handler: Handler | None = None


class BasePubSub(ABC):
    """Names, messages and handlers of one user's subscriptions."""

    def __init__(
        self,
        config: ClusterConfig,
        limits: LimitScope,
        *,
        ignore_subscribe_messages: bool = False,
        gaps: bool | Handler | None = None,
        owner: object = None,
    ) -> None:
        """Open nothing yet; see `Cluster.pubsub`.

        Args:
            config: The client's.
            limits: The client's.
            ignore_subscribe_messages: See there.
            gaps: See there.
            owner: The client: it lives as long as this, for the map is not watched without it.
        """
        self.ignore_subscribe_messages = ignore_subscribe_messages
        self._owner = owner
        self._gaps = gaps
        self._config = config
        self._limits = limits
        self._encoding = config.encoding, config.encoding_errors
        self._codec = self._encoding if config.decode_responses else None

    # What is subscribed -----------------------------------------------------------------------

    @property
    def subscribed(self) -> bool:
        """Whether something is subscribed, or still to be told."""
        return self._state().active

    @property
    def channels(self) -> dict[Any, Handler | None]:
        """The channels, with their handlers."""
        return self._names(Kind.CHANNEL)

    @property
    def patterns(self) -> dict[Any, Handler | None]:
        """The patterns, with their handlers."""
        return self._names(Kind.PATTERN)

    @property
    def shard_channels(self) -> dict[Any, Handler | None]:
        """The shard channels, with their handlers."""
        return self._names(Kind.SHARD)

    @abstractmethod
    def _state(self) -> Subscriptions:
        """Return what is wanted, asked and confirmed."""

    def _handlers(self) -> list[tuple[Subscription, Handler | None]]:
        """Return what is subscribed to, with who handles it."""
        return [(one, wanted.handler) for one, wanted in self._state().wanted.items()]

    def _names(self, kind: Kind) -> dict[Any, Handler | None]:
        codec = self._codec
        return {
            one.name if codec is None else one.name.decode(*codec): handler
            for one, handler in self._handlers()
            if one.kind is kind
        }

    def _need_handlers(self) -> None:
        """Refuse to go on where a message would come that nobody handles."""
        if any(handler is None for _, handler in self._handlers()):
            msg = "a subscription has no handler: each needs one here"
            raise PubSubError(msg)

    # What is given ----------------------------------------------------------------------------

    def _given(
        self, kind: Kind, args: tuple[Any, ...], handlers: dict[str, Handler]
    ) -> dict[bytes, Handler | None]:
        """Return the names to subscribe to, with their handlers."""
        names = named(args, handlers, *self._encoding)
        if not names:
            msg = "name at least one channel or pattern"
            raise InvalidArgumentError(msg, command=kind.joins.upper())
        return names

    def _to_leave(self, args: tuple[Any, ...]) -> list[bytes] | None:
        """Return the names to unsubscribe from; None means all of them."""
        return list(named(args, {}, *self._encoding)) if args else None

    def _keyspace_names(
        self, family: str, names: tuple[Any, ...], handler: Handler | None, db: int | None
    ) -> dict[bytes, Handler | None]:
        """Return the patterns of keyspace notifications."""
        number = self._config.db if db is None else db
        patterns = [keyspace_pattern(family, n, number, self._encoding[0]) for n in names or "*"]
        return dict.fromkeys(patterns, handler)

    def _payload(self, message: Any) -> bytes | None:
        """Return what a PING carries."""
        return None if message is None else encode(message, *self._encoding)

    # What comes -------------------------------------------------------------------------------

    def _judge(self, event: Event | None, observer: Observer, *, ignore: bool) -> Delivery:
        """Return what becomes of an event.

        Raises:
            ReplyDecodeError: It is no text.
        """
        if event is None:
            return Delivery()
        try:
            message = shaped(event, self._codec)
        except UnicodeError:
            msg = (
                "a message is not text in the client's encoding: use decode_responses=False for it"
            )
            raise ReplyDecodeError(msg) from None
        quiet = ignore or self.ignore_subscribe_messages
        if event.type == GAP:
            observer.tell(PubSubGap(reason=str(event.data)))
            handler: Callable[[Message], object] | None = (
                self._gaps if callable(self._gaps) else None
            )
            wanted = handler or self._gaps or (self._gaps is None and not quiet)
            return Delivery(message, handler) if wanted else Delivery()
        if event.handler is None and quiet and event.type in _CONFIRMATIONS:
            return Delivery()
        return Delivery(message, event.handler)
