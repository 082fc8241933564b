"""How a node is reached: within a time or, for probes, driven without waiting."""

from __future__ import annotations

import select
import socket
import ssl
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clustercache._core.address import Address


def connect(address: Address, seconds: float) -> socket.socket:
    """Return a socket that is connected to the first of a name's addresses that takes it.

    Args:
        address: Where to; a host name is looked up now.
        seconds: For all of its addresses together.

    Raises:
        OSError, UnicodeError: The name is unknown, or nobody is there.
        TimeoutError: Nobody answered in time.
    """
    deadline = monotonic() + seconds
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    last: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, where) in enumerate(places):
        left = (deadline - monotonic()) / (len(places) - number)
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(left, 0.001))
            sock.connect(where)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


def tune(sock: socket.socket, *, keepalive: bool) -> None:
    """Send at once what is written, and refuse a connection with itself.

    Raises:
        ConnectionRefusedError: A connect to a dead port of the ephemeral range met itself, and
            would answer its own PING.
    """
    if sock.getsockname() == sock.getpeername():
        msg = "cannot connect: nobody listens there"
        raise ConnectionRefusedError(msg)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class Dial:
    """One attempt to reach a node: a stopped one takes connections and shakes no hands."""

    __slots__ = ("_name", "_places", "_sock", "_tls", "began")

    def __init__(self, address: Address, tls: ssl.SSLContext | None, name: str | None) -> None:
        """Begin to connect.

        Args:
            address: Where to; a host name is looked up now.
            tls: The context to wrap the socket with, or None.
            name: The name to ask for and verify, instead of the address.

        Raises:
            OSError: The name is unknown, or nobody can be there.
        """
        self._places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self.began = monotonic()
        self._tls = tls
        self._name = name or address.host
        self._sock = self._begin()

    def _begin(self) -> socket.socket:
        """Begin with the next of the name's addresses."""
        family, kind, protocol, _, where = self._places.pop(0)
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(0.0)
        sock.connect_ex(where)
        return sock

    def advance(self, seconds: float) -> socket.socket | None:
        """Return the socket once it is connected (and encrypted); None if that takes longer.

        Args:
            seconds: How long to wait for it.

        Raises:
            OSError: It cannot be done.
        """
        until = monotonic() + seconds
        wanted = self._step()
        while wanted:
            poll = select.poll()
            poll.register(self._sock, wanted)
            if not poll.poll(max(until - monotonic(), 0.0) * 1000):
                return None
            wanted = self._step()
        return self._sock

    def _step(self) -> int:
        """Go as far as possible; return what poll() has to wait for, or 0 at the end."""
        if not isinstance(self._sock, ssl.SSLSocket):
            poll = select.poll()
            poll.register(self._sock, select.POLLOUT)
            if not poll.poll(0):
                return select.POLLOUT
            problem = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem and self._places:
                self._sock.close()
                self._sock = self._begin()
                return select.POLLOUT
            if problem:
                raise OSError(problem, "cannot connect")
            if self._tls is None:
                return 0
            self._sock = self._tls.wrap_socket(
                self._sock, server_hostname=self._name, do_handshake_on_connect=False
            )
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return select.POLLIN
        except ssl.SSLWantWriteError:
            return select.POLLOUT
        return 0

    def close(self) -> None:
        """Give up."""
        self._sock.close()
