"""What goes out on a connection: all commands of a tick in one write.

What is queued can be taken back until it is written, so that what is cancelled or expires before
is never written. What was written waits for its replies in the order of writing. There is no lock,
and no timer per command (see `watch`).

The socket is our own, and not an asyncio transport's: how many bytes the kernel took decides what
may be sent again, and an end of the connection that was there before the write is seen.
"""

from __future__ import annotations

import select
import ssl
from abc import ABC, abstractmethod
from asyncio import Future
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._async.slots import Place, Replies, is_done

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Sequence

    from clustercache._async.watch import Watch
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

_RECORD = 16384
"""Bytes that TLS may have sealed in a record that could not be written yet."""

_CHUNK = 1 << 20
"""Bytes put together at a time of what waits for a node that takes it slowly."""

_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket that never blocks raises instead."""


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def full(self, connection: Any) -> None:
        """Hear that it takes no more for now."""

    def free(self, connection: Any) -> None:
        """Hear that it takes more again."""

    def silent(self, connection: Any) -> None:
        """Hear that replies are due and nothing came for socket_timeout."""

    def lost(self, connection: Any) -> None:
        """Hear that it is closed."""


class Outbox(ABC):
    """A socket, and the places of what goes out on it.

    Attributes:
        address: The node's, as the cluster knows it.
        closed: Whether the socket is closed.
        queued: The places of what is not written yet; `pieces` are its bytes.
        sent: The places of what was written, each as often as it has replies to come.
        asked: How many replies were ever asked for.
        is_full: Whether its owner was told so.
        cause: What it was lost by, if that is known.
        blocked_since: Since when the node takes no more, in monotonic seconds; None while it does.
        kept_since: Since when what is queued waits for it; None when none of it is to be ended.
    """

    _watch: Watch

    __slots__ = (
        "_due",
        "_joined",
        "_loop",
        "_most",
        "_owner",
        "_poll",
        "_rest",
        "_room",
        "_sock",
        "_tls",
        "_watch",
        "address",
        "asked",
        "blocked_since",
        "cause",
        "closed",
        "is_full",
        "kept_since",
        "pieces",
        "queued",
        "sent",
    )

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        owner: Owner | None,
    ) -> None:
        """Take a socket that is connected."""
        self.address = address
        self.closed = False
        self.is_full = False
        self.blocked_since: float | None = None
        self.kept_since: float | None = None
        self.queued: list[Place[Any]] = []
        self.pieces: list[bytes] = []
        self.sent: deque[Place[Any]] = deque()
        self.asked = 0
        self.cause: OSError | None = None
        self._rest = memoryview(b"")
        self._due = False
        self._joined = False
        self._most = self._room = config.max_in_flight
        self._owner = owner
        self._loop = loop
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._poll = select.poll()
        self._poll.register(sock, _GONE)

    def send(self, data: bytes) -> Place[Any]:
        """Queue one packed command, and return the place of its reply.

        The result is the reply, or a `Failed` that says what came instead.
        """
        place: Place[Any] = Future(loop=self._loop)
        self.pieces.append(data)
        self.queued.append(place)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)
        if len(self.queued) >= self._room:
            self._look_for_room()
        return place

    def send_many(self, pieces: Sequence[bytes]) -> Replies:
        """Queue commands that nothing may come between; the result is a list of their replies."""
        place = Replies(pieces, self._loop)
        self.pieces.append(b"".join(pieces))
        self.queued.append(place)
        self._joined = True
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)
        self._look_for_room()
        return place

    @property
    def outstanding(self) -> int:
        """How many replies are to come, and commands to be written."""
        return len(self.sent) + len(self.queued)

    def awaited(self) -> list[Place[Any]]:
        """Return the places that somebody waits for: not those of calls that ended."""
        return [place for place in (*self.sent, *self.queued) if not place.done()]

    @abstractmethod
    def lose(self) -> None:
        """Close it, and let each place end: as not sent, or as sent without a reply."""

    @abstractmethod
    def _readable_again(self) -> None:
        """Read what the loop may not tell of again."""

    def _look_for_room(self) -> None:
        self._room = self._most - len(self.sent)
        full = self.blocked_since is not None or len(self.queued) >= self._room
        if full is not self.is_full and self._owner is not None and not self.closed:
            self.is_full = full
            (self._owner.full if full else self._owner.free)(self)

    def _flush(self) -> None:
        """Write what was queued in this tick."""
        self._due = False
        if self.blocked_since is None and not self.closed:
            self._write(None)

    def _write(self, most: int | None) -> None:
        """Write what is queued: all of it, or about so many bytes of it."""
        if any(map(is_done, self.queued)):
            self._drop_what_ended()
        if not self.queued:
            return
        if self._poll.poll(0):
            # The node hung up: what it said before is still to be read, and then its end.
            self._loop.call_soon(self._readable_again)
            return
        pieces = self.pieces if most is None else _first_of(self.pieces, most)
        data = b"".join(pieces)
        try:
            self._watch.written(self.asked)
            count = self._sock.send(data)
        except NOT_NOW:
            count = 0
        except OSError:
            self._hear_why()
            self.lose()
            return
        if count == len(data) and len(pieces) == len(self.pieces):
            self._was_written(self.queued)
            self.queued.clear()
            self.pieces.clear()
            self._room = self._most - len(self.sent)
        else:
            self._keep_rest(data, count)

    def _hear_why(self) -> None:
        """Read what a node that closes the connection says of the reason, under TLS."""
        if self._tls:
            try:
                self._sock.recv(1)
            except NOT_NOW:
                pass
            except OSError as error:
                self.cause = error.with_traceback(None)

    def _was_written(self, places: list[Place[Any]]) -> None:
        before = len(self.sent)
        if self._joined:
            for place in places:
                self.sent.extend([place] * (place.count if type(place) is Replies else 1))
            self._joined = False
        else:
            self.sent.extend(places)
        self.asked += len(self.sent) - before

    def _drop_what_ended(self) -> None:
        both = zip(self.queued, self.pieces, strict=True)
        kept = [(place, piece) for place, piece in both if not place.done()]
        self.queued = [place for place, _ in kept]
        self.pieces = [piece for _, piece in kept]
        self._look_for_room()

    def _keep_rest(self, data: bytes, count: int) -> None:
        """Go on writing when the node takes more; what it has nothing of yet stays queued."""
        # TLS may have sealed a record of what it could not write: that is sent as it is, too.
        begun = min(len(data), count + _RECORD) if self._tls else count
        end, pieces = 0, 0
        while end < begun:
            end += len(self.pieces[pieces])
            pieces += 1
        self._rest = memoryview(data)[count:end]
        joined = self._joined
        self._was_written(self.queued[:pieces])
        self._joined = joined
        del self.queued[:pieces], self.pieces[:pieces]
        now = monotonic()
        if self.blocked_since is None:
            self.kept_since = self.blocked_since = now
            self._loop.add_writer(self._sock.fileno(), self._writable)
        elif count:
            self.blocked_since = now
        self._look_for_room()

    def _writable(self) -> None:
        try:
            if self._rest:
                self._rest = self._rest[self._sock.send(self._rest) :]
                self.blocked_since = monotonic()
        except NOT_NOW:
            return
        except OSError:
            self.lose()
            return
        if self._rest:
            return
        if self.queued:
            self._write(_CHUNK)
        if not (self._rest or self.queued or self.closed):
            self._loop.remove_writer(self._sock.fileno())
            self.blocked_since = self.kept_since = None
            self._look_for_room()


def _first_of(pieces: list[bytes], most: int) -> list[bytes]:
    """Return the first pieces, about so many bytes of them."""
    size = count = 0
    while size < most and count < len(pieces):
        size += len(pieces[count])
        count += 1
    return pieces[:count]
