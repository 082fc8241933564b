"""One connection for many callers: each reply goes to its place, in the order of the commands.

Source: the RESP specification, "Request-Response protocol" and "Pushes".
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.credentials import credentials_of
from clustercache._async.dial import dial
from clustercache._async.foreign import unwatch
from clustercache._async.outbox import NOT_NOW, Outbox
from clustercache._async.patience import Alarm, within
from clustercache._async.slots import Place, Replies, settle, settle_unsent
from clustercache._async.watch import Watch
from clustercache._blocking import keep_alive
from clustercache._core import wire
from clustercache._core.decisions import Trouble
from clustercache._core.wire import INCOMPLETE, Push, ServerError
from clustercache._events import NoReply, NotSent, Refused
from clustercache._handshake import handshake_steps
from clustercache._request import Failed
from clustercache._trust import untrusted

if TYPE_CHECKING:
    import asyncio
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    from clustercache._async.outbox import Owner
    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

_READ_SIZE = 65536


class Connection(Outbox):
    """A socket, its reader, and the places of the replies that are to come.

    Attributes:
        heard: When something came last, in monotonic seconds.
        listener: Takes what no place waits for: pushes, messages.
        last_round_trip: Seconds, when last all replies had come; None before.
        patient: Whether silence is to be expected.
    """

    __slots__ = (
        "__weakref__",
        "_gets",
        "_largest",
        "_leaving",
        "_process",
        "_reader",
        "_size",
        "heard",
        "last_round_trip",
        "listener",
        "patient",
    )

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        owner: Owner | None = None,
    ) -> None:
        """Take a socket that is connected, and encrypted if it is to be.

        Args:
            address: The node's, as the cluster knows it.
            config: Codecs and limits.
            sock: It never blocks.
            loop: Whose it is from now on.
            owner: Who is told of its state; nobody for a connection with one user.
        """
        super().__init__(address, config, sock, loop, owner)
        self.listener: Callable[[Any], None] | None = None
        self.last_round_trip: float | None = None
        self.patient = False
        self._leaving = False
        self._process = os.getpid()
        self._size = 0
        self._largest = config.max_reply_bytes or math.inf
        encoding = config.encoding if config.decode_responses else None
        self._reader = wire.new_reader(encoding, config.encoding_errors, broken=NoReply)
        self._gets = self._decoded if encoding else self._reader.gets
        self._watch = Watch(self, config, loop)
        self.heard = monotonic()
        loop.add_reader(sock.fileno(), self._readable)

    @classmethod
    async def open(
        cls,
        address: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
        *,
        seconds: float | None = None,
        readonly: bool = False,
        owner: Owner | None = None,
        known_as: Address | None = None,
    ) -> Connection:
        """Connect and shake hands within `seconds` (default: socket_connect_timeout).

        Raises:
            NotSent: No connection could be made.
            Refused: The server refused the credentials or the database, or one side the other's
                certificate.
        """
        limit = config.socket_connect_timeout if seconds is None else seconds
        began = monotonic()
        login = await credentials_of(config, limit)
        if config.credential_provider is not None:
            limit = max(began + limit - monotonic(), 0.001)
        steps = handshake_steps(config, readonly=readonly, credentials=login)
        try:
            async with within(limit):
                sock = await dial(address, config, tls, loop, limit)
                connection = cls(known_as or address, config, sock, loop, owner)
                await connection._shake_hands(steps, limit)
                return connection
        except TimeoutError:
            msg = "no answer in time"
            raise NotSent(msg, silent=True) from None

    async def _shake_hands(
        self, steps: Sequence[tuple[tuple[Any, ...], bool]], seconds: float
    ) -> None:
        try:
            replies = await self.call(*(command for command, _ in steps), seconds=seconds)
            _check(steps, replies)
        except BaseException as error:
            self.close()
            # A server tells only now that it does not trust the client's certificate.
            refusal = untrusted(error)
            if refusal is None:
                raise
            raise Refused(refusal) from error

    # Receiving --------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except NOT_NOW:
            return
        except OSError as error:
            self.cause = error.with_traceback(None)
            self.lose()
            return
        if not data:
            self.lose()
            return
        self.heard = monotonic()
        try:
            self._reader.feed(data)
            self._deliver(len(data))
        except (NoReply, IndexError):
            self.lose()
            return
        if self.closed:
            return
        # What was deciphered already wakes no selector; and an end with an error wakes uvloop's
        # once, be there data before it or not.
        pending = self._tls and self._sock.pending()  # type: ignore[attr-defined]
        if pending or ((self.sent or self.queued) and self._poll.poll(0)):
            self._loop.call_soon(self._readable_again)

    def _readable_again(self) -> None:
        if not self.closed:
            self._readable()

    def _deliver(self, size: int) -> None:
        gets, take = self._gets, self.sent.popleft
        reply = gets()
        if reply is INCOMPLETE:
            self._size += size
            if self._size > self._largest:
                self._lose_too_large()
            return
        self._size = 0
        while reply is not INCOMPLETE:
            if type(reply) is Push or not self.sent:
                self._unasked(reply)
            else:
                place = take()
                if type(place) is Replies:
                    reply = self._deliver_many(place, reply)
                    continue
                # One that ended before is left as it is: here its reply ends.
                if not place.done():
                    place.set_result(reply)
            reply = gets()
        if not self.sent:
            self.last_round_trip = self.heard - self._watch.wrote
            if self._leaving and not self.queued:
                self.lose()
        if self.is_full:
            self._look_for_room()

    def _deliver_many(self, place: Replies, reply: Any) -> Any:
        """Bring replies to one place, which was taken once; return what came behind them."""
        gets, take, put = self._gets, self.sent.popleft, place.came.append
        if place.done():
            return gets()
        missing = place.count - len(place.came)
        while True:
            put(reply)
            missing -= 1
            if not missing:
                place.set_result(place.came)
                return gets()
            reply = gets()
            while type(reply) is Push:
                self._unasked(reply)
                reply = gets()
            if reply is INCOMPLETE:
                return reply
            take()

    def _unasked(self, reply: Any) -> None:
        if self.listener is not None:
            self.listener(reply)
        elif type(reply) is not Push:
            raise IndexError

    def _decoded(self) -> Any:
        """Return what gets() does, or the error that stands for text that is none."""
        try:
            return self._reader.gets()
        except UnicodeError:  # the reader is in step all the same
            return wire.undecodable()

    # The end ----------------------------------------------------------------------------------

    def expire(self, place: Place[Any]) -> None:
        """Let a place end because its deadline has passed."""
        written = place not in self.queued
        trouble = Trouble.EXPIRED_UNANSWERED if written else Trouble.EXPIRED
        settle(place, trouble, self.address)

    def tell_silence(self) -> None:
        """Say that replies are due and nothing came for socket_timeout."""
        if self._owner is not None and not (self.closed or self.patient):
            self._owner.silent(self)

    def _lose_too_large(self) -> None:
        settle(self.sent[0], Trouble.TOO_LARGE, self.address)
        self.lose()

    def lose(self) -> None:
        """Close it, and let each place end: as not sent, or as sent without a reply."""
        if self.closed:
            return
        self.close()
        places, queued = list(self.sent), self.queued
        self.sent.clear()
        self.queued, self.pieces = [], []
        if self._rest and places:
            settle_unsent(places[-1], len(self._rest), self.address)
        for place in places:
            settle(place, Trouble.NO_REPLY, self.address)
        for place in queued:
            settle(place, Trouble.BROKEN_OFF, self.address)
        if self._owner is not None:
            self._owner.lost(self)

    def use_once(self) -> None:
        """Close it once the first commands on it have their replies."""
        self._leaving = True

    def keep_alive(self) -> None:
        """Let the kernel find out when the host is gone."""
        keep_alive(self._sock)

    def lose_when_idle(self) -> None:
        """Close it once each place has its reply."""
        self._leaving = True
        if not self.outstanding:
            self.lose()

    def close(self) -> None:
        """Close without a word, whether or not the loop is still there."""
        if self.closed:
            return
        self.closed = True
        self._watch.stop()
        unwatch(self._loop, self._sock.fileno(), self._process)
        self._sock.close()

    def abandon(self) -> None:
        """Close this process's end only: the loop, and what it watches, is another process's."""
        self.closed = True
        self._sock.close()

    def __del__(self) -> None:
        """Close what its owner lost."""
        with suppress(AttributeError):
            self._sock.close()

    # One user ---------------------------------------------------------------------------------

    async def call(self, *commands: tuple[Any, ...], seconds: float) -> list[Any]:
        """Send commands and return their replies, for handshakes, administration and probes.

        Args:
            commands: Words and arguments of each.
            seconds: To wait for all replies.

        Raises:
            NotSent: No reply came; the connection is closed.
        """
        place = self.send_many([wire.pack(command) for command in commands])
        timer = Alarm(self._loop, seconds, partial(self.expire, place))
        try:
            replies = await place
        finally:
            timer.cancel()
        for reply in replies:
            if type(reply) is Failed:
                self.close()
                late = reply.event.trouble in {Trouble.EXPIRED, Trouble.EXPIRED_UNANSWERED}
                msg = "no answer in time" if late else "the node closed the connection"
                raise NotSent(msg, silent=late) from self.cause
        return list(replies)


def _check(steps: Sequence[tuple[tuple[Any, ...], bool]], replies: Sequence[Any]) -> None:
    """Raise Refused for the first step of a handshake that was refused and must not be."""
    for (command, required), reply in zip(steps, replies, strict=True):
        if required and isinstance(reply, ServerError):
            raise Refused(reply, command[0])
