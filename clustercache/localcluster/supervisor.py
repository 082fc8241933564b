"""The process that is parent of a LocalCluster's servers. Standard library only; run by its path.

It does what it is told by lines of JSON on stdin, and ends its servers at EOF: so nothing is left
when the process that holds the other end is killed with SIGKILL. (PR_SET_PDEATHSIG alone would
not do: it fires when the *thread* that started the server ends.) It signals only processes that it
started and has not yet reaped, so that a process id can never have passed to somebody else.

Ports are reserved while the supervisor lives, also those of servers that are dead at the moment, by
binding a name for each in Linux's abstract socket namespace: these names belong to the network
namespace as ports do, and vanish with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BUS_OFFSET = 10000
_LOWEST_PORT = 7000
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """The servers of one cluster, their directory and their ports."""

    def __init__(self, directory: str) -> None:
        self.temporary = not directory
        if directory:
            self.lock = (Path(directory) / "lock").open("wb")
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.directory = directory or tempfile.mkdtemp(prefix="clustercache-")
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.reserved: dict[int, socket.socket] = {}
        self.die_with_us = _prepare_death_signal()

    def do_ports(self, ports: list[int], count: int) -> dict[str, Any]:
        """Reserve `ports`, or `count` free ones, each with its bus port."""
        if ports:
            taken = [port for port in ports if not self._reserve(port)]
            return {"ports": ports, "taken": taken}
        found: list[int] = []
        for port in _candidates():
            if len(found) < count and self._reserve(port):
                found.append(port)
        return {"ports": found, "taken": []}

    def _reserve(self, port: int) -> bool:
        names = [_claim(port), _claim(port + BUS_OFFSET)]
        if None in names or not (_is_free(port) and _is_free(port + BUS_OFFSET)):
            for name in names:
                if name is not None:
                    name.close()
            return False
        for number, name in zip((port, port + BUS_OFFSET), names, strict=True):
            if name is not None:
                self.reserved[number] = name
        return True

    def do_start(self, name: str, argv: list[str], cwd: str, log: str) -> dict[str, Any]:
        """Start a server; its output is appended to `log`."""
        if self._alive(name):
            return {"pid": self.servers[name].pid}
        with Path(log).open("ab") as output:
            self.servers[name] = subprocess.Popen(
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=self.die_with_us,  # noqa: PLW1509 - no thread ever runs here
            )
        return {"pid": self.servers[name].pid}

    def do_signal(self, name: str, number: int, wait: float) -> dict[str, Any]:
        """Send a signal to a server that lives, and see its effect within `wait` seconds."""
        if not self._alive(name):
            return {"alive": False}
        server = self.servers[name]
        server.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        elif wait:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(wait)
        return {"alive": server.poll() is None}

    def do_status(self) -> dict[str, Any]:
        """Tell which servers live."""
        return {
            "pids": {name: self.servers[name].pid for name in self.servers if self._alive(name)}
        }

    def _alive(self, name: str) -> bool:
        return name in self.servers and self.servers[name].poll() is None

    def end(self) -> None:
        """End all servers; those with data to keep are asked first."""
        alive = [server for server in self.servers.values() if server.poll() is None]
        if not self.temporary:
            for server in alive:
                server.send_signal(signal.SIGTERM)
                server.send_signal(signal.SIGCONT)
            _wait_all(alive, 5.0)
        for server in alive:
            server.kill()
        _wait_all(alive, 10.0)
        if self.temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def _wait_all(servers: list[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for server in servers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(max(deadline - time.monotonic(), 0.01))


def _claim(port: int) -> socket.socket | None:
    """Return what keeps `port` ours; None if another supervisor has it."""
    name = socket.socket(socket.AF_UNIX)
    if sys.platform != "linux":
        return name
    try:
        name.bind(f"\0clustercache-port-{port}")
    except OSError:
        name.close()
        return None
    return name


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _candidates() -> list[int]:
    """Return ports to try, from a random place on: a client left over from a test meets nobody.

    They and their bus ports lie below the ephemeral range, where a connect to a dead port can
    connect to itself and answer its own PING.
    """
    try:
        ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        ephemeral = 32768
    ports = range(_LOWEST_PORT, max(ephemeral - BUS_OFFSET, _LOWEST_PORT + 1000))
    start = random.randrange(len(ports))  # noqa: S311 - no secret
    return [*ports[start:], *ports[:start]]


def _prepare_death_signal() -> Any:
    """Return what makes a server die with this process, should somebody SIGKILL it."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _serve(supervisor: Supervisor, wakeup: int) -> None:
    """Answer requests until EOF or SIGTERM, and reap servers as they die."""
    waiting = b""
    while True:
        for fd in select.select([0, wakeup], [], [])[0]:
            data = os.read(fd, 65536)
            if fd == wakeup:
                if signal.SIGTERM in data:
                    return
                supervisor.do_status()
                continue
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                _answer(supervisor, json.loads(line))


def _answer(supervisor: Supervisor, request: dict[str, Any]) -> None:
    request_id = request.pop("id")
    try:
        reply = getattr(supervisor, f"do_{request.pop('do')}")(**request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller has to see it
        reply = {"error": f"{type(error).__name__}: {error}"}
    _tell({"id": request_id, **reply})


def _tell(reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    """Serve until the parent is gone, then end everything."""
    wakeup, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        supervisor = Supervisor(sys.argv[1])
    except OSError as error:
        in_use = isinstance(error, BlockingIOError)
        _tell({"id": 0, "error": "another LocalCluster uses it" if in_use else str(error)})
        return
    try:
        _tell({"id": 0, "directory": supervisor.directory})
        _serve(supervisor, wakeup)
    except BrokenPipeError:
        pass  # the parent died while being answered
    finally:
        supervisor.end()


if __name__ == "__main__":
    main()
