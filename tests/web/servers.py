"""Real web servers with several workers, on loopback, ended for sure."""

from __future__ import annotations

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from clustercache._core.address import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
KEEPER = Path(__file__).with_name("keeper.py")
HOST = "127.0.0.1"
WORKERS = 2
THREADS = 64
"""Of each prefork worker: a request that waits for a shard keeps one."""
_GRACE = 8.0


class WebServer:
    """One web server with its workers, which ends with this object, and with this process.

    Args:
        words: How it is started; "{port}" stands for the port.
        directory: Where it works, and keeps its log.
        environment: What is set beside our own.
    """

    def __init__(
        self, words: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.address = Address(HOST, free_port())
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "web.log"
        # gunicorn would make a socket to be controlled by in the user's home.
        usual = {**os.environ, "GUNICORN_CMD_ARGS": "--no-control-socket"}
        known = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests" / "web")]
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(KEEPER), str(_GRACE)),
                    *(word.replace("{port}", str(self.address.port)) for word in words),
                ],
                env={**usual, "PYTHONPATH": os.pathsep.join(known), **environment},
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until it answers; raises AssertionError with its log where it does not."""
        deadline = time.monotonic() + timeout
        while not self._answers():
            assert self._keeper.poll() is None, f"the server ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"no answer in {timeout} s:\n{self.tail()}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def tail(self, lines: int = 40) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """End it with all its workers."""
        self._keeper.stdin.close()
        self._keeper.wait(_GRACE + 10)

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gunicorn(app: str, *, workers: int = WORKERS, threads: int = THREADS) -> list[str]:
    """Return how gunicorn is started for a WSGI application, made before its workers are forked."""
    return [
        *(sys.executable, "-m", "gunicorn", app, "--preload", "--bind", f"{HOST}:{{port}}"),
        *("--workers", str(workers), "--worker-class", "gthread", "--threads", str(threads)),
        *("--timeout", "60", "--graceful-timeout", "5"),
    ]


def uvicorn(app: str, *, workers: int = WORKERS) -> list[str]:
    """Return how uvicorn is started for an ASGI application."""
    return [
        *(sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", "{port}"),
        *("--workers", str(workers), "--log-level", "warning", "--no-access-log"),
        *("--timeout-graceful-shutdown", "5"),
    ]


def free_port() -> int:
    """Return a port that is free, below those that the kernel gives to clients."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
