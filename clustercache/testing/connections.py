"""One client's connection, seen from the server: what came in, and what it has agreed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .replies import Plain, Reply, reply

if TYPE_CHECKING:
    from collections.abc import Callable


class Command(list[bytes]):
    """A command as it was received: a list of its words, and where it came from.

    Equal to a plain list of the same words.

    Attributes:
        connection_id: The id of the connection that brought it.
        chunk: The index, in that connection's `chunks`, of the recv that completed it. Commands
            with the same chunk arrived together.
    """

    __slots__ = ("chunk", "connection_id")

    def __init__(self, words: list[bytes], connection_id: int, chunk: int) -> None:
        super().__init__(words)
        self.connection_id = connection_id
        self.chunk = chunk

    @property
    def name(self) -> str:
        """The command's first word in upper case."""
        return self[0].decode("utf-8", "replace").upper()


class Connection:
    """One accepted connection. Scripts that are functions get it as their second argument.

    Attributes:
        id: 1 for the first connection that the server accepted, and so on.
        peer: The client's address.
        protocol: 2 or 3, whichever HELLO agreed on.
        client_name: What CLIENT SETNAME said.
        readonly: Whether READONLY is in force.
        asking: Whether the command before this one was ASKING.
        chunks: The bytes of each recv, in order. One write usually arrives as one chunk, but the
            kernel may join writes that follow each other at once, and cut large ones.
        closed: Whether it is over, from either side.
    """

    def __init__(
        self,
        number: int,
        peer: tuple[Any, ...],
        *,
        send: Callable[[Reply], None],
        drop: Callable[[], None],
    ) -> None:
        self.id = number
        self.peer = peer
        self.protocol = 2
        self.client_name = ""
        self.readonly = False
        self.asking = False
        self.chunks: list[bytes] = []
        self.closed = False
        self._send = send
        self._drop = drop

    def __repr__(self) -> str:
        return f"<Connection {self.id} from {self.peer[0]}:{self.peer[1]}>"

    def send(self, value: Plain) -> None:
        """Send something that nobody asked for, such as a push message. Any thread may call it."""
        self._send(reply(value))

    def drop(self) -> None:
        """Hang up. Any thread may call it."""
        self._drop()
