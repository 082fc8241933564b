"""What sentinels announce, heard on one connection to each of them.

A failover that an operator asks for leaves the old primary running, and taking writes that are lost
later: no error tells of it, so that somebody has to listen.

Source: "High availability with Sentinel", "Pub/sub messages".
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from clustercache._core import sources, wire
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Silent
from clustercache._inquiry import DEAF, HEAR_AGAIN, SIGN_OF_LIFE
from clustercache._sync.probe import Probe

if TYPE_CHECKING:
    import ssl

    from clustercache._core.address import Address
    from clustercache._sync.discovery import Discovery
    from clustercache.config import ClusterConfig

_MESSAGE_TIME = 0.5
"""Seconds for the rest of a message that has begun to come."""
_DIALLING = 0.05
"""Seconds until a connection that is being made is looked at again."""


class Subscription(Probe):
    """A connection on which one sentinel's announcements come."""

    __slots__ = ("_hears", "_not_before", "_pinged_at", "_pong", "_service")

    def __init__(
        self, address: Address, config: ClusterConfig, tls: ssl.SSLContext | None, service: str
    ) -> None:
        """Open nothing yet."""
        super().__init__(address, config, tls, sources.SUBSCRIBE)
        self._service = service
        self._hears = False
        self._pong = True
        self._pinged_at = 0.0
        self._not_before = 0.0

    @property
    def hears(self) -> bool:
        """Whether announcements would come."""
        return self._hears

    @property
    def descriptor(self) -> int | None:
        """What to poll, once the connection is made."""
        return None if self._connection is None else self._connection.fileno()

    def news(self) -> bool:
        """Go on, and tell whether the topology may have changed; never waits for the sentinel."""
        if not self._hears:
            return self._begin()
        try:
            return self._take_in()
        except (NoReply, NotSent, Silent):
            self.close()
            return True

    def _begin(self) -> bool:
        now = monotonic()
        if now < self._not_before:
            return False
        if not self.ask(0.0):
            if self._dial is None:
                self._not_before = now + HEAR_AGAIN
            return False
        replies = self.answer(0.0)
        if replies is None:
            if self._connection is None:
                self._not_before = now + HEAR_AGAIN
            return False
        if any(isinstance(reply, ServerError) for reply in replies):
            self.close()
            self._not_before = now + SIGN_OF_LIFE
            return False
        self._hears, self._pong, self._pinged_at = True, True, now
        return True  # what was announced before was not heard

    def _take_in(self) -> bool:
        connection, news = self._connection, False
        assert connection is not None  # noqa: S101 - there is one while it hears
        while connection.is_stale():
            connection.set_patience(_MESSAGE_TIME)
            message = connection.read(monotonic() + _MESSAGE_TIME)
            self._pong = True
            news = news or sources.is_news(message, self._service)
        if monotonic() - self._pinged_at > SIGN_OF_LIFE:
            if not self._pong:
                raise Silent  # the last PING has no answer
            self._pong, self._pinged_at = False, monotonic()
            connection.send(wire.pack(("PING",)), monotonic() + _MESSAGE_TIME)
        return news

    def close(self) -> None:
        """Close the connection; the next `news` opens another."""
        super().close()
        self._hears = False


class Announcements:
    """The subscriptions to all sentinels, and a bell that ends the waiting for them."""

    def __init__(self, discovery: Discovery) -> None:
        """Open nothing but the bell."""
        self._discovery = discovery
        self._subscriptions: dict[Address, Subscription] = {}
        self._bell, self._ear = socket.socketpair()
        self._bell.settimeout(0.0)
        self._ear.settimeout(0.0)
        self._asked_at = monotonic()

    def ring(self) -> None:
        """End a `wait`, from any thread."""
        with suppress(OSError):  # closed meanwhile, or rung often enough
            self._bell.send(b"!")

    def wait(self, seconds: float) -> bool:
        """Wait for news or the bell, and tell whether the sentinels should be asked.

        Args:
            seconds: How long to wait at most.
        """
        for address in self._discovery.sentinels:
            if address not in self._subscriptions:
                self._subscriptions[address] = self._discovery.subscription(address)
        heard = self._news()
        if not heard:
            self._poll(seconds)
            heard = self._news()
        if not any(one.hears for one in self._subscriptions.values()):
            heard = heard or monotonic() - self._asked_at > DEAF
        if heard:
            self._asked_at = monotonic()
        return heard

    def _news(self) -> bool:
        heard = [one.news() for one in self._subscriptions.values()]
        return any(heard)

    def _poll(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        for one in self._subscriptions.values():
            if (descriptor := one.descriptor) is not None:
                poll.register(descriptor, select.POLLIN)
            if one.dialling:
                seconds = min(seconds, _DIALLING)
        if poll.poll(seconds * 1000):
            with suppress(BlockingIOError):
                self._ear.recv(64)

    def close(self) -> None:
        """Close everything."""
        for one in self._subscriptions.values():
            one.close()
        self._bell.close()
        self._ear.close()
