"""The server's end of one connection. Only the server's thread touches it."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis

from .connections import Command, Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from .actions import Action
    from .replies import Reply

_MAX_CHUNK = 1 << 20
_INCOMPLETE: Any = object()
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Channel:
    """Bytes in, commands out; replies in, bytes out.

    Attributes:
        connection: What the test gets to see of it.
        inbox: Commands that wait for their turn.
        waiting: Whether a delay is running.
    """

    def __init__(
        self, sock: socket.socket, number: int, submit: Callable[[Callable[[], None]], None]
    ) -> None:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.connection = Connection(
            number,
            sock.getpeername(),
            send=lambda reply: submit(lambda: self.send(reply)),
            drop=lambda: submit(self.hang_up),
        )
        self.inbox: deque[Command] = deque()
        self.waiting = False
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._outbox = bytearray()
        self._deaf = False
        self._finishing = False

    @property
    def ready(self) -> bool:
        """Whether the next command may be answered now."""
        over = self._deaf or self._finishing or self.connection.closed
        return not (over or self.waiting)

    @property
    def has_output(self) -> bool:
        """Whether bytes wait for the client to take them."""
        return bool(self._outbox)

    def receive(self) -> list[Command]:
        """Read what is there and return the commands that it completes.

        Raises:
            EOFError: The client has gone.
            hiredis.ProtocolError: That was no command.
        """
        try:
            data = self.sock.recv(_MAX_CHUNK)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise EOFError from exc
        if not data:
            raise EOFError
        chunks = self.connection.chunks
        chunks.append(data)
        self._reader.feed(data)
        commands: list[Command] = []
        while (words := self._reader.gets()) is not _INCOMPLETE:
            if not isinstance(words, list) or not words or not isinstance(words[0], bytes):
                raise hiredis.ProtocolError("a command is an array of bulk strings")
            commands.append(Command(words, self.connection.id, len(chunks) - 1))
        return commands

    def carry_out(self, action: Action) -> None:
        """Do what an action says, its delay apart."""
        if action.reply is not None:
            self.send(action.reply)
        if action.then == "hang":
            self._deaf = True
        elif action.then == "close":
            self.finish()
        elif action.then == "reset":
            self.reset()

    def send(self, reply: Reply) -> None:
        """Write a reply as far as the client takes it, and keep the rest."""
        self._outbox += reply.encode(self.connection.protocol)
        self.flush()

    def flush(self) -> None:
        """Write what is left."""
        try:
            while self._outbox:
                del self._outbox[: self.sock.send(self._outbox)]
        except BlockingIOError:
            return
        except OSError:
            self.hang_up()
        if self._finishing:
            self.hang_up()

    def finish(self) -> None:
        """Hang up once everything is written."""
        self._finishing = True
        self.flush()

    def reset(self) -> None:
        """Hang up so that the client sees ECONNRESET."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._end()

    def hang_up(self) -> None:
        """End the conversation now."""
        # A forked child may hold a copy of the socket: only shutdown reaches the client then.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self._end()

    def _end(self) -> None:
        self._outbox.clear()
        self.inbox.clear()
        self.connection.closed = True
