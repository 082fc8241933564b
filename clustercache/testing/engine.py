"""The one thread of a fake server: it owns the selector and every socket.

What another thread asks for is handed over and waited for, so when a call returns, it has happened.
Commands of one connection are answered strictly in order, as real servers do it; a delay holds up
those behind it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import hiredis

from .channels import Channel
from .replies import error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .actions import Action
    from .connections import Command, Connection

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_END_TIMEOUT = 10.0


class Engine:
    """Accept, read, ask `decide` what to do, and do it.

    Args:
        host: The address to listen on.
        port: The port, or 0 for a free one.
        decide: Called in the engine's thread with each command, when its turn has come.
    """

    def __init__(
        self, host: str, port: int, decide: Callable[[Command, Connection], Action]
    ) -> None:
        self._decide = decide
        self.news = threading.Condition(threading.RLock())
        self.commands: list[Command] = []
        self.connections: list[Connection] = []
        self._listener: socket.socket | None = listen(host, port)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._channels: list[Channel] = []
        self._timers: list[tuple[float, int, Channel, Action]] = []
        self._tickets = itertools.count()
        self._calls: deque[Callable[[], None]] = deque()
        self._paused = False
        self._running = True
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.settimeout(0)
        self._wake_in.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        name = f"fake-server-{self.address[1]}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # For any thread

    def submit(self, call: Callable[[], None]) -> None:
        """Run a call in the engine's thread, and return when it is done."""
        if threading.current_thread() is self._thread:
            call()
            return
        done = threading.Event()
        self._calls.append(call)
        self._calls.append(done.set)
        self._wake()
        while self._thread.is_alive() and not done.wait(0.1):
            pass

    def drop_connections(self, *, reset: bool) -> None:
        """Hang up on every client."""

        def drop() -> None:
            for channel in self._channels:
                if reset:
                    channel.reset()
                else:
                    channel.hang_up()
            self._sweep()

        self.submit(drop)

    def stop_accepting(self) -> None:
        """Close the listening socket."""
        self.submit(self._close_listener)

    def start_accepting(self) -> None:
        """Listen again, on the same port."""

        def start() -> None:
            if self._listener is None:
                self._listener = listen(*self.address)
                if not self._paused:
                    self._selector.register(self._listener, selectors.EVENT_READ)

        self.submit(start)

    def set_paused(self, *, paused: bool) -> None:
        """Stop or go on looking at the sockets."""

        def change() -> None:
            if paused is self._paused:
                return
            self._paused = paused
            sockets = [(channel.sock, channel) for channel in self._channels]
            listeners = [(self._listener, None)] if self._listener else []
            for sock, data in [*sockets, *listeners]:
                if paused:
                    self._selector.unregister(sock)
                else:
                    self._selector.register(sock, selectors.EVENT_READ, data)

        self.submit(change)

    def close(self) -> None:
        """End the thread and close every socket. May be called twice."""
        if self._running:
            self._running = False
            self._wake()
            self._thread.join(_END_TIMEOUT)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: it has ended
            self._wake_in.send(b"\0")

    # For the engine's own thread

    def _run(self) -> None:
        try:
            while self._running:
                self._turn()
        finally:
            self._shut_down()

    def _turn(self) -> None:
        for key, events in self._selector.select(self._time_to_next_timer()):
            if key.fileobj is self._wake_out:
                self._run_calls()
            elif key.data is None:
                self._accept()
            else:
                if events & selectors.EVENT_WRITE:
                    key.data.flush()
                if events & selectors.EVENT_READ:
                    self._read(key.data)
        self._run_timers()
        self._sweep()
        with self.news:
            self.news.notify_all()

    def _run_calls(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)
        while self._calls:
            self._calls.popleft()()

    def _accept(self) -> None:
        if self._listener is None:  # closed by a call of this same turn
            return
        try:
            sock, _ = self._listener.accept()
        except OSError:  # gone before it was looked at
            return
        try:
            channel = Channel(sock, len(self.connections) + 1, self.submit)
        except OSError:
            sock.close()
            return
        with self.news:
            self.connections.append(channel.connection)
        self._channels.append(channel)
        if not self._paused:
            self._selector.register(sock, selectors.EVENT_READ, channel)

    def _read(self, channel: Channel) -> None:
        if channel.connection.closed or self._paused:
            return
        try:
            commands = channel.receive()
        except EOFError:
            channel.hang_up()
            return
        except hiredis.HiredisError as exc:
            channel.send(error(f"ERR Protocol error: {exc}"))
            channel.finish()
            return
        with self.news:
            self.commands += commands
        channel.inbox += commands
        self._answer(channel)

    def _answer(self, channel: Channel) -> None:
        """Work off a connection's commands until one has to wait or ends the conversation."""
        connection = channel.connection
        while channel.inbox and channel.ready:
            command = channel.inbox.popleft()
            was_asking = connection.asking
            action = self._decide(command, connection)
            if was_asking and command.name != "ASKING":
                connection.asking = False
            if action.after > 0:
                channel.waiting = True
                due = time.monotonic() + action.after
                heapq.heappush(self._timers, (due, next(self._tickets), channel, action))
            else:
                channel.carry_out(action)

    def _time_to_next_timer(self) -> float | None:
        if not self._timers or self._paused:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        while not self._paused and self._timers and self._timers[0][0] <= time.monotonic():
            _, _, channel, action = heapq.heappop(self._timers)
            channel.waiting = False
            if not channel.connection.closed:
                channel.carry_out(action)
                self._answer(channel)

    def _sweep(self) -> None:
        """Bring selector and sockets up to date with what became of the connections."""
        for channel in self._channels:
            if channel.connection.closed:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(channel.sock)
                channel.sock.close()
            elif not self._paused:
                events = selectors.EVENT_READ
                if channel.has_output:
                    events |= selectors.EVENT_WRITE
                if self._selector.get_key(channel.sock).events != events:
                    self._selector.modify(channel.sock, events, channel)
        self._channels = [one for one in self._channels if not one.connection.closed]

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if not self._paused:
            self._selector.unregister(listener)
        # A forked child may hold a copy of the socket: only shutdown ends the listening then.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def _shut_down(self) -> None:
        self._close_listener()
        for channel in self._channels:
            channel.hang_up()
        self._sweep()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port; 0 stands for a free one below the range of outgoing connections.

    A client that connects to a dead port inside that range can end up connected to itself.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port else _candidates():
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, candidate))
            sock.listen(512)
        except OSError:
            sock.close()
            if port:
                raise
            continue
        sock.settimeout(0)
        return sock
    raise OSError("no free port below the kernel's ephemeral range")


def _candidates() -> list[int]:
    low = int(_PORT_RANGE.read_text().split()[0]) if _PORT_RANGE.exists() else 32768
    first = max(1024, low - 8000)
    ports = range(first, low) if low > first else range(20000, 28000)
    start = secrets.randbelow(len(ports))
    return [*ports[start:], *ports[:start]]
