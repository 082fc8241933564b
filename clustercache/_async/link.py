"""The connection that one node's subscriptions live on: the loop reads it, and nobody waits."""

from __future__ import annotations

import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._async.dial import dial
from clustercache._async.foreign import leave
from clustercache._async.outbox import NOT_NOW
from clustercache._core import wire
from clustercache._core.wire import INCOMPLETE
from clustercache._events import NoReply, NotSent, Refused, TooLarge
from clustercache._handshake import handshake_steps
from clustercache._link import Pulse

if TYPE_CHECKING:
    import asyncio
    import socket

    from clustercache._core.address import Address
    from clustercache._core.session import Session
    from clustercache.config import ClusterConfig

_READ_SIZE = 65536


class Reader(Protocol):
    """Who is told of a link."""

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read for now."""

    def readable(self, link: Link) -> None:
        """Hear that something has come."""

    def failed(self, link: Link, error: Exception) -> None:
        """Hear that the connection could not be made, or is lost."""


class Link:
    """One node's connection.

    What is written before the connection is made goes out when it is, the handshake first.

    Attributes:
        node: The node, as the cluster knows it.
        session: What is subscribed on it.
        born: When it was begun, in monotonic seconds.
        pulse: When it is asked for a sign of life.
    """

    __slots__ = (
        "__weakref__",
        "_came",
        "_config",
        "_loop",
        "_opening",
        "_outbox",
        "_owner",
        "_reader",
        "_sock",
        "_target",
        "_tls",
        "born",
        "node",
        "pulse",
        "session",
    )

    def __init__(
        self,
        node: Address,
        way: tuple[Address, ClusterConfig, ssl.SSLContext | None],
        session: Session,
        loop: asyncio.AbstractEventLoop,
        owner: Reader,
    ) -> None:
        """Begin to connect.

        Args:
            node: The node, as the cluster knows it.
            way: How it is reached; replies stay bytes.
            session: What will be subscribed on it.
            loop: Who reads and writes.
            owner: Who is told.
        """
        self._target, self._config, self._tls = way
        self._owner = owner
        self._loop = loop
        self._sock: socket.socket | None = None
        self._came = 0
        self._reader = wire.new_reader(None, self._config.encoding_errors, broken=NoReply)
        self._outbox = bytearray(session.shake_hands(handshake_steps(self._config)))
        self.node = node
        self.session = session
        self.born = monotonic()
        self.pulse = Pulse(self._config, self.born)
        self._opening = loop.create_task(self._open())

    @property
    def dialling(self) -> bool:
        """Whether the connection is still being made."""
        return self._sock is None

    async def _open(self) -> None:
        seconds = self._config.socket_connect_timeout
        try:
            sock = await dial(self._target, self._config, self._tls, self._loop, seconds)
        except (NotSent, Refused) as error:
            # Not now: a loop with eager tasks is here before the owner has this link.
            self._loop.call_soon(self._owner.failed, self, error)
            return
        self._sock = sock
        self.pulse.heard(monotonic())
        if not self._owner.paused:
            self.resume()
        self._writable()

    # Writing ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write now, or when the node takes it.

        Raises:
            OSError: The node is gone.
        """
        waits = bool(self._outbox)
        self._outbox += data
        if self._sock is not None and not waits:
            self._flush(self._sock)
            if self._outbox:
                self._loop.add_writer(self._sock.fileno(), self._writable)

    def _flush(self, sock: socket.socket) -> None:
        with suppress(*NOT_NOW):
            while self._outbox:
                del self._outbox[: sock.send(self._outbox)]

    def _writable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            self._flush(sock)
        except OSError as error:
            self._owner.failed(self, error)
            return
        if self._outbox:
            self._loop.add_writer(sock.fileno(), self._writable)
        else:
            self._loop.remove_writer(sock.fileno())

    # Reading ----------------------------------------------------------------------------------

    def read(self) -> tuple[int, list[Any]]:
        """Return how many bytes have come, and what they complete; waits for nothing.

        Raises:
            NoReply, OSError: The connection is lost.
        """
        size, replies, sock = 0, [], self._sock
        while sock is not None:
            try:
                data = sock.recv(_READ_SIZE)
            except NOT_NOW:
                break
            if not data:
                msg = "the node closed the connection"
                raise NoReply(msg)
            size += len(data)
            self._reader.feed(data)
            replies += self._complete(len(data))
            # What was deciphered already wakes no selector.
            if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                break
        if size:
            self.pulse.heard(monotonic())
        return size, replies

    def _complete(self, size: int) -> list[Any]:
        replies: list[Any] = []
        while (reply := self._reader.gets()) is not INCOMPLETE:
            replies.append(reply)
        self._came = 0 if replies else self._came + size
        largest = self._config.max_reply_bytes
        if largest and self._came > largest:
            msg = "a message is larger than max_reply_bytes"
            raise TooLarge(msg)
        return replies

    def check(self, now: float) -> None:
        """Ask for a sign of life where nothing came for long.

        Raises:
            NotSent: There was none (`silent`).
            OSError: The node is gone.
        """
        if self.pulse.wants_ping(now, settled=self.session.settled):
            self.write(self.session.ping())

    def pause(self) -> None:
        """Read nothing: the node waits, once the kernel's buffers are full."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        """Read whenever something comes."""
        if self._sock is not None:
            self._loop.add_reader(self._sock.fileno(), self._owner.readable, self)

    # The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close without a word."""
        sock, self._sock = self._sock, None
        self._opening.cancel()
        if sock is not None:
            with suppress(OSError, ValueError):
                self._loop.remove_reader(sock.fileno())
                self._loop.remove_writer(sock.fileno())
            sock.close()

    def abandon(self) -> None:
        """Close this process's end only: the loop is closed, or another process's."""
        leave(self._opening)
        if self._sock is not None:
            self._sock.close()

    def __del__(self) -> None:
        """Close what its owner lost."""
        with suppress(AttributeError):
            if self._sock is not None:
                self._sock.close()
