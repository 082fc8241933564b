"""Questions that nodes are asked outside of any call: whole views, and signs of life."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._core import wire
from clustercache._core.decisions import Trouble, classify
from clustercache._core.sources import CLUSTER
from clustercache._core.wire import ServerError
from clustercache._events import NoReply, NotSent, Silent
from clustercache._handshake import handshake_steps
from clustercache._sync.connection import Connection
from clustercache._sync.dial import Dial

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.sources import Answer, Source
    from clustercache.config import ClusterConfig

_PING = (("PING",),)
_READ_TIME = 0.05
"""Seconds for the rest of replies that have begun to come."""
_GRACE = 1.0
"""Seconds that a dial or an answer gets beyond socket_connect_timeout, before a new connection."""


class Probe:
    """One question to one node, asked again and again on one connection, one at a time."""

    __slots__ = (
        "_asked_at",
        "_config",
        "_connection",
        "_dial",
        "_expected",
        "_question",
        "_replies",
        "_tls",
        "address",
    )

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        question: Sequence[tuple[str, ...]],
    ) -> None:
        """Open nothing yet."""
        self.address = address
        self._config = config
        self._tls = tls
        self._question = question
        self._dial: Dial | None = None
        self._connection: Connection | None = None
        self._expected = 0
        self._replies: list[Any] = []
        self._asked_at: float | None = None

    def ask(self, seconds: float) -> bool:
        """Send the question unless it is outstanding; tell whether the node took it.

        A stopped process takes a connection and answers nothing, so the handshake is part of the
        question and nobody waits for it here.

        Args:
            seconds: How long a new connection may take at first; later calls do not wait for it.
        """
        if self._asked_at is not None:
            if monotonic() - self._asked_at < self._config.socket_connect_timeout + _GRACE:
                return True
            self.close()  # a host that lost its power forgot this connection
        try:
            data = wire.pack_many(self._question)
            self._expected = len(self._question)
            if self._connection is None:
                self._connection = self._connect(seconds)
                if self._connection is None:
                    return False
                steps = handshake_steps(self._config)
                data = wire.pack_many([command for command, _ in steps]) + data
                self._expected += len(steps)
            self._connection.send(data, monotonic() + seconds)
        except (NotSent, OSError, UnicodeError):  # the last two by the name's look-up
            self.close()
            return False
        self._asked_at = monotonic()
        return True

    def _connect(self, seconds: float) -> Connection | None:
        """Return the connection once it is made; go on with it at the next call otherwise."""
        if self._dial is None:
            name = self._config.tls.server_name if self._config.tls else None
            self._dial = Dial(self.address, self._tls, name)
        elif monotonic() - self._dial.began > self._config.socket_connect_timeout + _GRACE:
            self.close()
            return None
        else:
            seconds = 0.0
        sock = self._dial.advance(seconds)
        if sock is None:
            return None
        self._dial = None
        return Connection(self.address, self._config, tls=self._tls, sock=sock)

    @property
    def dialling(self) -> bool:
        """Whether a connection is being made."""
        return self._dial is not None

    def answer(self, timeout: float) -> list[Any] | None:
        """Return the replies to the question, or None if they have not all come in `timeout`."""
        if self._connection is None or not self._connection.readable(timeout):
            return None
        replies = self._replies
        patience = max(timeout, _READ_TIME)
        try:
            self._connection.set_patience(patience)
            self._connection.read_many(self._expected, monotonic() + patience, replies)
        except Silent:
            return None  # a large reply, and more of it to come
        except NoReply:
            self.close()
            return None
        self._asked_at, self._replies = None, []
        return replies[-len(self._question) :]

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
        if self._dial is not None:
            self._dial.close()
        self._connection = None
        self._dial = None
        self._asked_at, self._replies = None, []


class LifeProbe(Probe):
    """Asks whether a node serves again."""

    def __init__(self, address: Address, config: ClusterConfig, tls: ssl.SSLContext | None) -> None:
        """Open nothing yet."""
        super().__init__(address, config, tls, _PING)

    def is_well(self, timeout: float) -> bool:
        """Tell whether the node answered and serves; LOADING and the like are not well.

        An ACL may refuse PING: that is an answer, too.
        """
        replies = self.answer(timeout)
        if replies is None or not isinstance(replies[-1], ServerError):
            return replies is not None
        return classify(replies[-1], self.address).trouble is not Trouble.UNREADY


class ViewProbe(Probe):
    """Asks a node, or a sentinel, for its view of the topology."""

    __slots__ = ("_known_as", "_source")

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        *,
        source: Source = CLUSTER,
        known_as: Address | None = None,
    ) -> None:
        """Open nothing yet; `known_as` is the node's address in the topology, if another."""
        super().__init__(address, config, tls, source.question)
        self._source = source
        self._known_as = known_as or address

    def view(self, timeout: float) -> Answer | None:
        """Return the node's view, or None if there is none (yet).

        Raises:
            ServerError: The node refuses the question.
        """
        replies = self.answer(timeout)
        return None if replies is None else self._source.read(replies, self._known_as)
