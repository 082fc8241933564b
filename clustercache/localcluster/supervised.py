"""Our end of the pipe to the supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from time import monotonic
from typing import Any

from clustercache.exceptions import AdminError

_SCRIPT = Path(__file__).with_name("supervisor.py")
_all: weakref.WeakSet[Supervised] = weakref.WeakSet()


class Supervised:
    """Servers that end when this object is closed, or this process ends, however it ends.

    A forked child lets go of the pipe at once: it can neither end the servers by ending itself,
    nor keep them alive after their owner's death.

    Args:
        directory: Where the servers keep their files; None makes a temporary one, which the
            supervisor removes.
    """

    def __init__(self, directory: Path | None) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._buffer = b""
        self._request = 0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPT), str(directory or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us; the servers end when we say so
        )
        _all.add(self)
        try:
            self.directory = Path(self._read()["directory"])
        except BaseException:
            self.close()
            raise

    def ports(self, wanted: list[int], count: int = 0) -> list[int]:
        """Reserve `wanted`, or `count` free ports, with the bus port of each.

        Raises:
            AdminError: Some are taken, or none are left.
        """
        reply = self._ask(do="ports", ports=wanted, count=count)
        if reply["taken"]:
            first = reply["taken"][0]
            msg = f"port {first} or its bus port {first + 10000} on 127.0.0.1 is taken"
            raise AdminError(msg)
        if len(reply["ports"]) < count:
            msg = f"no {count} free ports on 127.0.0.1"
            raise AdminError(msg)
        return list(reply["ports"])

    def start(self, name: str, argv: list[str], cwd: Path, log: Path) -> None:
        """Start the server `name`."""
        self._ask(do="start", name=name, argv=argv, cwd=str(cwd), log=str(log))

    def signal(self, name: str, number: int, *, wait: float = 0.0) -> bool:
        """Send a signal, give it `wait` seconds to take effect, and tell if the server lives."""
        return bool(self._ask(do="signal", name=name, number=int(number), wait=wait)["alive"])

    def end(self, name: str, grace: float = 5.0) -> None:
        """Ask a server to end, and kill it after `grace` seconds."""
        self.signal(name, signal.SIGCONT)
        if self.signal(name, signal.SIGTERM, wait=grace):
            self.signal(name, signal.SIGKILL, wait=grace)

    def pids(self) -> dict[str, int]:
        """Return the process id of each server that lives."""
        return dict(self._ask(do="status")["pids"])

    def close(self) -> None:
        """End all servers and remove a temporary directory. A forked child does nothing here."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._let_go()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()  # the servers die with it
                self._process.wait()

    def forget(self) -> None:
        """Let go of the pipe in a forked child."""
        self._let_go()
        self._process.returncode = 0  # not our child: nothing to wait for

    def _let_go(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        if os.getpid() != self._owner:
            msg = "this LocalCluster belongs to the process that made it"
            raise AdminError(msg)
        with self._lock:
            if self._process.stdin is None or self._process.stdin.closed:
                msg = "the LocalCluster is closed"
                raise AdminError(msg)
            self._request += 1
            data = json.dumps({"id": self._request, **request}).encode() + b"\n"
            with contextlib.suppress(BrokenPipeError):  # the reply's absence says it
                self._process.stdin.write(data)
            return self._read()

    def _read(self, timeout: float = 60.0) -> dict[str, Any]:
        """Return the reply to the last request; one that was interrupted leaves its own behind."""
        deadline = monotonic() + timeout
        while True:
            reply: dict[str, Any] = json.loads(self._read_line(deadline))
            if reply["id"] != self._request:
                continue
            if "error" in reply:
                raise AdminError(f"the LocalCluster's supervisor: {reply['error']}")
            return reply

    def _read_line(self, deadline: float) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise AdminError("the LocalCluster is closed")
        readable = select.poll()
        readable.register(stdout, select.POLLIN)
        while b"\n" not in self._buffer:
            if not readable.poll(max(deadline - monotonic(), 0) * 1000):
                raise AdminError("the LocalCluster's supervisor process does not answer")
            data = os.read(stdout.fileno(), 65536)
            if not data:
                msg = "the LocalCluster's supervisor process ended, and its servers with it"
                raise AdminError(msg)
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _forget_all() -> None:
    for supervised in list(_all):
        supervised.forget()


os.register_at_fork(after_in_child=_forget_all)
