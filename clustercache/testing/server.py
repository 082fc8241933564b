"""A server that does as it is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from .actions import Action
from .engine import Engine
from .handshake import BUILTINS, hello, unknown_command
from .replies import Reply, error
from .scripts import Answer, ScriptBook, matches, perform, words_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .connections import Command, Connection


class FakeServer:
    """A scripted server on a free loopback port, for the duration of a `with` block.

    It answers HELLO, AUTH, CLIENT, PING, SELECT, READONLY and ASKING by itself, so that clients can
    connect; scripts take precedence over that; anything else is an unknown command.

    Args:
        host: The address to listen on: 127.0.0.1 or ::1.
        port: The port, or 0 for a free one below the kernel's ephemeral range.

    Example:
        with FakeServer() as node:
            node.on("GET", [error("TRYAGAIN not yet"), reply(b"v")])
            client = redis.Redis(port=node.port)
            ...
            assert node.received("GET") == [[b"GET", b"k"]]
    """

    mode = "standalone"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._scripts = ScriptBook()
        self._failures: list[Exception] = []
        self._engine = Engine(host, port, self._decide)
        self.host, self.port = self._engine.address

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the server; raise what a script function raised, unless the block raised itself."""
        self.close()
        if kind is None and self._failures:
            raise self._failures[0]

    # Where it is

    @property
    def address(self) -> str:
        """`host:port`, as MOVED and ASK spell it."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL for a client."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{host}:{self.port}"

    @property
    def role(self) -> str:
        """What HELLO says about it: "master" or "replica"."""
        return "master"

    # The script

    def on(self, pattern: str, answers: Answer | list[Answer], *, strict: bool = False) -> Self:
        """Take over the commands that begin with the words of `pattern`.

        Args:
            pattern: A command's name, or more of its first words: "GET", "CLUSTER SLOTS",
                "GET mykey". Case is ignored, the pattern with the most words wins, and "*" stands
                for any command.
            answers: One answer, or a list of them to be given in order. An answer is a reply, a
                plain value, an action such as `silence()`, or a function of the command and the
                connection that returns one of these.
            strict: Answer with an error once the list is used up, instead of repeating its last.
        """
        self._scripts.put(pattern, answers, strict=strict)
        return self

    def off(self, pattern: str) -> Self:
        """Forget the script for a pattern."""
        self._scripts.remove(pattern)
        return self

    # What came in

    @property
    def commands(self) -> list[Command]:
        """Every command received so far, in the order of arrival."""
        with self._engine.news:
            return list(self._engine.commands)

    def received(self, pattern: str) -> list[Command]:
        """Return the received commands that begin with the words of `pattern`."""
        words = words_of(pattern)
        return [command for command in self.commands if matches(command, words)]

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open, oldest first."""
        return [connection for connection in self.all_connections if not connection.closed]

    @property
    def all_connections(self) -> list[Connection]:
        """Every connection that was ever accepted, oldest first."""
        with self._engine.news:
            return list(self._engine.connections)

    @property
    def bytes_received(self) -> dict[int, list[bytes]]:
        """The chunks that each connection brought, by its id: see `Connection.chunks`."""
        return {connection.id: list(connection.chunks) for connection in self.all_connections}

    def wait_for(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until a condition holds; it is looked at again whenever something happens here.

        Raises:
            TimeoutError: The condition did not hold within `timeout` seconds. The message names
                the commands that had arrived.
        """
        limit = time.monotonic() + timeout
        while not condition():  # without the lock: it may call anything
            left = limit - time.monotonic()
            if left <= 0:
                names = ", ".join(command.name for command in self.commands) or "nothing"
                raise TimeoutError(f"waited {timeout} s; received so far: {names}")
            with self._engine.news:
                self._engine.news.wait(min(left, 0.01))

    # What goes wrong

    def drop_connections(self, *, reset: bool = False) -> None:
        """Hang up on every client; with `reset`, so that it sees ECONNRESET."""
        self._engine.drop_connections(reset=reset)

    def stop_accepting(self) -> None:
        """Close the listening socket: new connections are refused, open ones stay."""
        self._engine.stop_accepting()

    def start_accepting(self) -> None:
        """Listen again, on the same port."""
        self._engine.start_accepting()

    def pause(self) -> None:
        """Freeze, like a process that got SIGSTOP: nothing is read, accepted or answered.

        The kernel still completes connections and takes in bytes, as it does for a real one.
        """
        self._engine.set_paused(paused=True)

    def resume(self) -> None:
        """Wake up again and work off what came in meanwhile."""
        self._engine.set_paused(paused=False)

    def close(self) -> None:
        """Stop the thread and close every socket. May be called twice."""
        self._engine.close()

    # In the engine's thread

    def _decide(self, command: Command, connection: Connection) -> Action:
        try:
            answer = self._scripts.find(command)
            if answer is None:
                answer = self._default(command, connection)
            return perform(answer, command, connection)
        except Exception as exc:  # noqa: BLE001 (a script is foreign code; __exit__ raises it)
            self._failures.append(exc)
            return Action(error(f"ERR the script raised {type(exc).__name__}"))

    def _default(self, command: Command, connection: Connection) -> Reply:
        """Answer what no script has taken over."""
        if command.name == "HELLO":
            return hello(command, connection, mode=self.mode, role=self.role)
        builtin = BUILTINS.get(command.name)
        return builtin(command, connection) if builtin else unknown_command(command)
