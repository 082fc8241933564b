"""How a node is reached without blocking: a socket, connected and encrypted within a time."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from clustercache._async.foreign import unwatch
from clustercache._async.patience import within
from clustercache._events import NotSent, Refused
from clustercache._trust import untrusted

if TYPE_CHECKING:
    import asyncio

    from clustercache._core.address import Address
    from clustercache.config import ClusterConfig

    Place = tuple[int, int, int, str, Any]


async def dial(
    address: Address,
    config: ClusterConfig,
    tls: ssl.SSLContext | None,
    loop: asyncio.AbstractEventLoop,
    seconds: float,
) -> socket.socket:
    """Return a socket that never blocks, connected to the first of a name's addresses to take it.

    Args:
        address: Where to; a host name is looked up now.
        config: For its name under TLS, and for keep-alive.
        tls: The context to wrap the socket with, or None.
        loop: Who waits.
        seconds: For all of it.

    Raises:
        NotSent: The name is unknown, nobody is there, or nobody answered in time.
        Refused: One side does not trust the other's certificate.
    """
    try:
        async with within(seconds):
            sock = await _connected(address, loop, seconds)
            try:
                _tune(sock, keepalive=config.socket_keepalive)
                if tls is None:
                    return sock
                name = (config.tls and config.tls.server_name) or address.host
                return await _encrypted(sock, tls, name, loop)
            except BaseException:
                sock.close()
                raise
    except (OSError, UnicodeError) as error:
        refusal = untrusted(error)
        if refusal is not None:
            raise Refused(refusal) from error
        reason = "timed out" if isinstance(error, TimeoutError) else str(error)
        msg = f"cannot connect: {reason}"
        raise NotSent(msg, silent=isinstance(error, TimeoutError)) from error


async def _connected(
    address: Address, loop: asyncio.AbstractEventLoop, seconds: float
) -> socket.socket:
    deadline = monotonic() + seconds
    places = await _places(address, loop)
    last: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, where) in enumerate(places):
        rest = len(places) - number
        # The last one has all the time that the whole has, which may be given some back.
        left = seconds if rest == 1 else (deadline - monotonic()) / rest
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(0.0)
            async with within(max(left, 0.001)):
                await _connect(sock, where, loop)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def _places(address: Address, loop: asyncio.AbstractEventLoop) -> list[Place]:
    """Return where a name leads; an address that is a number already needs no thread for it."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, address.host)
            return [(family, socket.SOCK_STREAM, 0, "", (address.host, address.port))]
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return list(found)


async def _connect(sock: socket.socket, where: Any, loop: asyncio.AbstractEventLoop) -> None:
    # Not the loop's own sock_connect, which in debug mode and on other loops differs in its checks.
    with suppress(BlockingIOError):
        sock.connect(where)
        return
    await _until(sock, loop, writing=True)
    problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, "nobody takes the connection")


async def _encrypted(
    sock: socket.socket, tls: ssl.SSLContext, name: str, loop: asyncio.AbstractEventLoop
) -> socket.socket:
    wrapped = tls.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    try:
        while True:
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                await _until(wrapped, loop, writing=False)
            except ssl.SSLWantWriteError:
                await _until(wrapped, loop, writing=True)
            else:
                return wrapped
    except BaseException:
        wrapped.close()
        raise


async def _until(sock: socket.socket, loop: asyncio.AbstractEventLoop, *, writing: bool) -> None:
    """Wait until a socket can be read, or written to."""
    ready: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    number, process = sock.fileno(), os.getpid()
    (loop.add_writer if writing else loop.add_reader)(number, note)
    try:
        await ready
    finally:
        unwatch(loop, number, process)


def _tune(sock: socket.socket, *, keepalive: bool) -> None:
    if sock.getsockname() == sock.getpeername():
        # A connect to a dead port of the ephemeral range met itself.
        msg = "nobody listens there"
        raise ConnectionRefusedError(msg)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
