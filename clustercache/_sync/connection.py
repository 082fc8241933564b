"""One connection: in step with its server, or closed.

A plain socket stays in blocking mode with SO_RCVTIMEO, which costs nothing where Python's own
timeouts cost a poll before every recv. Two cases pay for that poll: the main thread, because a
signal there restarts recv with its whole timeout (PEP 475), so a ticking timer would make it wait
for ever; and TLS or a patched socket module, where SO_RCVTIMEO is not obeyed.
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
import threading
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._blocking import keep_alive
from clustercache._core import wire
from clustercache._core.wire import INCOMPLETE, ServerError
from clustercache._events import NoReply, NotSent, Refused, Silent, TooLarge
from clustercache._handshake import handshake_steps
from clustercache._sync.dial import connect, tune
from clustercache._trust import untrusted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

_READ_SIZE = 65536
_PATIENCE_ENDED = "the node is silent"
# A fresh socket buffer always takes this much at once, so that a short command cannot block.
_SHORT = 16384
_PATCHED = socket.socket.__module__ != "socket"
_main_thread = threading.main_thread().ident
_thread = threading.get_ident


def _after_fork_in_child() -> None:
    """Take the thread that forked for the main one, as the child does."""
    global _main_thread  # noqa: PLW0603 - a fork gives the process another main thread
    _main_thread = threading.get_ident()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Connection:
    """A socket, its reader, and how long it is patient. One owner at a time."""

    __slots__ = (
        "__weakref__",
        "_decodes",
        "_largest",
        "_patience_ms",
        "_poll_in",
        "_polls",
        "_reader",
        "_sock",
        "address",
        "closed",
        "idle_since",
        "leased",
        "patience",
    )

    def __init__(
        self,
        address: Address,
        config: ClusterConfig,
        *,
        tls: ssl.SSLContext | None = None,
        timeout: float | None = None,
        sock: socket.socket | None = None,
        readonly: bool = False,
    ) -> None:
        """Connect and shake hands within `timeout` seconds (default: socket_connect_timeout).

        Args:
            address: Where to; a name is looked up now.
            config: Credentials, limits and codecs.
            tls: The context to wrap the socket with, or None.
            timeout: Seconds for all of it.
            sock: A socket that is connected, and encrypted, already; the handshake is then left to
                the caller (see `handshake_steps`).
            readonly: Whether the node, being a replica, is to serve reads of its shard's slots.

        Raises:
            NotSent: No connection could be made.
            Refused: The server refused the credentials or the database, or one side the other's
                certificate.
        """
        limit = config.socket_connect_timeout if timeout is None else timeout
        deadline = monotonic() + limit
        self.address = address
        self.closed = False
        self.leased = True
        self._decodes = config.decode_responses
        self._largest = config.max_reply_bytes or math.inf
        encoding = config.encoding if config.decode_responses else None
        self._reader = wire.new_reader(encoding, config.encoding_errors, broken=NoReply)
        self._sock = sock or self._reach(limit)
        try:
            tune(self._sock, keepalive=config.socket_keepalive)
            if tls is not None and sock is None:
                name = config.tls and config.tls.server_name
                self._sock = tls.wrap_socket(self._sock, server_hostname=name or address.host)
            self._polls = tls is not None or _PATCHED
            self._poll_in = select.poll()
            self._poll_in.register(self._sock, select.POLLIN)
            self.patience = 0.0
            self.set_patience(max(deadline - monotonic(), 0.001))
            if sock is None:
                self._shake_hands(config, deadline, readonly=readonly)
            self.set_patience(config.patience)
        except (OSError, NotSent) as error:
            self.close()
            refusal = untrusted(error)
            if refusal is not None:
                raise Refused(refusal) from error
            if isinstance(error, NotSent):
                raise
            raise NotSent(_reason(error), silent=isinstance(error, TimeoutError)) from error
        except BaseException:
            self.close()
            raise
        self.idle_since = monotonic()

    def _reach(self, seconds: float) -> socket.socket:
        try:
            return connect(self.address, seconds)
        except (OSError, UnicodeError) as error:
            msg = f"cannot connect: {_reason(error)}"
            raise NotSent(msg, silent=isinstance(error, TimeoutError)) from error

    def _shake_hands(self, config: ClusterConfig, deadline: float, *, readonly: bool) -> None:
        steps = handshake_steps(config, readonly=readonly)
        try:
            self.send(wire.pack_many([command for command, _ in steps]), deadline)
            for command, required in steps:
                reply = self.read(deadline)
                if required and isinstance(reply, ServerError):
                    raise Refused(reply, command[0])
        except (Silent, NoReply) as error:
            msg = f"no answer to the handshake: {error}"
            raise NotSent(msg, silent=isinstance(error, Silent)) from error

    def set_patience(self, seconds: float) -> None:
        """Raise `Silent` after this many seconds without a byte, in either direction."""
        if seconds == self.patience:
            return
        self.patience = seconds
        self._patience_ms = max(int(seconds * 1000), 1)
        if self._polls:
            self._sock.settimeout(seconds)
            return
        self._sock.settimeout(None)
        whole = int(seconds)
        limit = struct.pack("ll", whole, max(int((seconds - whole) * 1e6), 1))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def exchange(self, data: bytes, deadline: float) -> Any:
        """Send one packed command and return its reply (a `ServerError` is a value).

        Raises:
            NotSent, NoReply: The connection must be closed.
            Silent: The reply may still come; call `read` again, or close.
        """
        if len(data) > _SHORT:
            self.send(data, deadline)
        else:
            try:
                sent = self._sock.send(data)
            except OSError as error:
                raise NotSent(_reason(error)) from error
            if sent < len(data):
                self.send(data[sent:], deadline)
        self.receive()
        try:
            reply = self._reader.gets()
        except UnicodeError:
            return wire.undecodable()
        if reply is INCOMPLETE or type(reply) is wire.Push:
            return self._whole(reply, deadline)
        return reply

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of `data` before `deadline` (monotonic seconds), or raise NotSent."""
        view = memoryview(data)
        may_block = len(data) > _SHORT and not self._polls and _thread() == _main_thread
        try:
            while view:
                if may_block and not self._may_write():
                    raise TimeoutError  # noqa: TRY301 - one place turns silence into NotSent
                view = view[self._sock.send(view) :]
                if view and monotonic() > deadline:
                    raise TimeoutError  # noqa: TRY301
        except (BlockingIOError, TimeoutError) as error:
            msg = "the node took no more data"
            raise NotSent(msg, silent=True, sent=len(data) - len(view)) from error
        except OSError as error:
            raise NotSent(_reason(error), sent=len(data) - len(view)) from error

    def _may_write(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return bool(poll.poll(self._patience_ms))

    def read(self, deadline: float, *, decode: bool = True) -> Any:
        """Return the next reply, its strings as bytes unless `decode`; see `exchange`."""
        return self._whole(self._gets(decode=decode)(), deadline, decode=decode)

    def _whole(self, reply: Any, deadline: float, *, decode: bool = True) -> Any:
        """Return `reply` once it is one: read on while it is half of one, or a push."""
        gets = self._gets(decode=decode)
        late, size = False, 0
        while reply is INCOMPLETE or type(reply) is wire.Push:
            # What follows a push may have come together with it.
            if reply is INCOMPLETE:
                if late and monotonic() > deadline:
                    raise Silent(_PATIENCE_ENDED)
                size += self.receive()
                if size > self._largest:
                    raise TooLarge
                late = True
            reply = gets()
        return reply

    def receive(self, *, ready: bool = False) -> int:
        """Feed the reader with what has come (`ready`) or comes in time; return how many bytes."""
        try:
            if not (ready or self._polls) and _thread() == _main_thread:
                self._wait_readable()
            data = self._sock.recv(_READ_SIZE)
            if data:
                self._reader.feed(data)
                return len(data)
        except (BlockingIOError, TimeoutError) as error:
            raise Silent(_PATIENCE_ENDED) from error
        except OSError as error:
            raise NoReply(_reason(error)) from error
        msg = "the node closed the connection"
        raise NoReply(msg)

    def read_many(
        self,
        count: int,
        deadline: float,
        replies: list[Any],
        *,
        decode: bool = True,
        ready: bool = False,
    ) -> None:
        """Read until `replies` has `count` entries; it keeps what came before an exception.

        Args:
            count: How many replies there will be.
            deadline: In monotonic seconds.
            replies: What was read so far.
            decode: False gives strings as bytes.
            ready: Whether something is there to be read.
        """
        gets, late, size = self._gets(decode=decode), False, 0
        while len(replies) < count:
            if self._reader.has_data():
                came = [gets() for _ in range(count - len(replies))]
                if came[-1] is INCOMPLETE:
                    del came[came.index(INCOMPLETE) :]
                if came:
                    size = 0
                replies += [reply for reply in came if type(reply) is not wire.Push]
                if len(replies) == count:
                    return
            if late and monotonic() > deadline:
                raise Silent(_PATIENCE_ENDED)
            size += self.receive(ready=ready and not late)
            if size > self._largest:
                raise TooLarge
            late = True

    def _gets(self, *, decode: bool) -> Callable[[], Any]:
        # Half of what gets() costs with an argument is the argument.
        gets: Callable[..., Any] = self._reader.gets
        if decode and self._decodes:
            return self._decoded
        return gets if decode else partial(gets, False)  # noqa: FBT003 - hiredis has no name for it

    def _decoded(self) -> Any:
        """Return what gets() does, or the error that stands for text that is none."""
        try:
            return self._reader.gets()
        except UnicodeError:  # the reader is in step all the same
            return wire.undecodable()

    def _wait_readable(self) -> None:
        if not self._poll_in.poll(self._patience_ms):
            raise TimeoutError

    def readable(self, seconds: float) -> bool:
        """Tell whether data, or the end of the connection, comes within `seconds`."""
        return bool(self._poll_in.poll(int(seconds * 1000)))

    def has_surplus(self) -> bool:
        """Tell whether more came than the replies that were read: the server is out of step."""
        surplus: bool = self._reader.has_data()
        return surplus

    def is_stale(self) -> bool:
        """Tell whether an idle connection was closed by its server, or has unread data."""
        return self.has_surplus() or bool(self._poll_in.poll(0))

    def wake(self) -> None:
        """End whatever its owner waits for, from another thread."""
        with suppress(OSError):  # closed by its owner in the meantime, or by the server
            self._sock.shutdown(socket.SHUT_RDWR)

    def keep_alive(self) -> None:
        """Let the kernel find out when the host is gone."""
        keep_alive(self._sock)

    def fileno(self) -> int:
        """Return the socket's descriptor, for poll()."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close without a word; the other end of a forked socket is not disturbed."""
        self.closed = True
        self._sock.close()

    def __del__(self) -> None:
        """Close what an exception made its owner lose."""
        with suppress(AttributeError):
            self._sock.close()

    def call(self, *args: Any, timeout: float = 5.0) -> Any:
        """Send one command and return its reply, for administration and probes.

        Args:
            args: The command's words and arguments.
            timeout: Seconds to wait for the reply.

        Raises:
            ServerError: The server refused it.
            NotSent, NoReply, Silent: No reply; the connection is closed.
        """
        deadline = monotonic() + timeout
        self.set_patience(timeout)
        try:
            reply = self.exchange(wire.pack(args), deadline)
        except BaseException:
            self.close()
            raise
        if isinstance(reply, ServerError):
            raise reply
        return reply


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
