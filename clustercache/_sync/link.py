"""The connection that one node's subscriptions live on: nobody waits for it to be made."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from clustercache._core.wire import INCOMPLETE
from clustercache._handshake import handshake_steps
from clustercache._link import Pulse
from clustercache._sync.connection import Connection
from clustercache._sync.dial import Dial

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from clustercache._core.address import Address
    from clustercache._core.session import Session
    from clustercache.config import ClusterConfig


class Talk(Protocol):
    """What is said on a link: it begins with the handshake."""

    @property
    def settled(self) -> bool:
        """Whether the whole handshake is answered."""

    def shake_hands(self, steps: Sequence[tuple[tuple[Any, ...], bool]]) -> bytes:
        """Return the wire data of a handshake of (command, must it succeed) pairs."""


TalkT = TypeVar("TalkT", bound=Talk)


class PushConnection(Connection):
    """A connection on which more comes than replies."""

    __slots__ = ()

    @property
    def take(self) -> Callable[[], Any]:
        """What returns the next reply or push that has come whole, or INCOMPLETE."""
        gets: Callable[[], Any] = self._reader.gets
        return gets


class Link(Generic[TalkT]):
    """One node's connection: dialled, written to and read without waiting.

    What is written before the connection is made goes out when it is, the handshake first.

    Attributes:
        session: What is said on it.
        born: When it was begun, in monotonic seconds.
    """

    __slots__ = (
        "_config",
        "_connection",
        "_dial",
        "_outbox",
        "_pulse",
        "_target",
        "_tls",
        "born",
        "session",
    )

    def __init__(
        self,
        target: Address,
        config: ClusterConfig,
        tls: ssl.SSLContext | None,
        session: TalkT,
    ) -> None:
        """Begin to connect.

        Args:
            target: Where to.
            config: How to connect; replies stay bytes.
            tls: The TLS context, or None.
            session: What will be said on it.

        Raises:
            OSError: The name is unknown, or nobody can be there.
        """
        self.session = session
        self._target = target
        self._config = config
        self._tls = tls
        self._connection: PushConnection | None = None
        self._dial: Dial | None = None
        self._outbox = bytearray(session.shake_hands(handshake_steps(config)))
        name = config.tls.server_name if config.tls else None
        self._dial = Dial(target, tls, name)
        self.born = monotonic()
        self._pulse = Pulse(config, self.born)

    @property
    def dialling(self) -> bool:
        """Whether the connection is still being made."""
        return self._connection is None

    def advance(self) -> None:
        """Go on with connecting, and write what is to be written.

        Raises:
            OSError, NotSent: It cannot be done.
        """
        if self._dial is not None:
            sock = self._dial.advance(0.0)
            if sock is None:
                return
            self._dial = None
            self._connection = PushConnection(self._target, self._config, tls=self._tls, sock=sock)
            self._pulse.heard(monotonic())
        self.write(b"")

    def write(self, data: bytes) -> None:
        """Write now, or once the connection is made.

        Raises:
            NotSent: The node takes no more, or is gone.
        """
        if self._connection is not None and not self._outbox:
            if data:
                self._connection.send(data, monotonic() + self._config.patience)
            return
        self._outbox += data
        if self._connection is not None:
            whole = bytes(self._outbox)
            self._outbox.clear()
            self._connection.send(whole, monotonic() + self._config.patience)

    def read(self, *, ready: bool = False) -> list[Any]:
        """Return what has come.

        Args:
            ready: Whether it is known that something has.

        Raises:
            NoReply, Silent: The connection is lost.
        """
        connection = self._connection
        if connection is None or not (ready or connection.readable(0)):
            return []
        connection.receive(ready=True)
        self._pulse.heard(monotonic())
        replies: list[Any] = []
        take = connection.take
        while (reply := take()) is not INCOMPLETE:
            replies.append(reply)
        return replies

    def wait(self, seconds: float) -> bool:
        """Tell whether something, or the end of the connection, comes within `seconds`."""
        return self._connection is not None and self._connection.readable(seconds)

    def wake(self) -> None:
        """Shut the connection down, from any thread: whoever reads it meets its end."""
        if self._connection is not None:
            self._connection.wake()

    def check(self: Link[Session], now: float) -> None:
        """Ask for a sign of life where nothing came for long.

        Call it when what has come was read.

        Raises:
            NotSent: There was none (`silent`), or the node is gone.
        """
        if self._pulse.wants_ping(now, settled=self.session.settled):
            self.write(self.session.ping())

    @property
    def waits(self) -> bool:
        """Whether to read can take a while though something has come: half a record of TLS."""
        return self._tls is not None

    def fileno(self) -> int | None:
        """Return the socket's descriptor for poll(), or None while there is none."""
        return None if self._connection is None else self._connection.fileno()

    def close(self) -> None:
        """Close without a word; the other end of a forked socket is not disturbed."""
        if self._dial is not None:
            self._dial.close()
        if self._connection is not None:
            self._connection.close()
