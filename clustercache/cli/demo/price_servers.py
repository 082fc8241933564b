"""The processes of the shop whose prices are cached, which end with the demo, however it ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any, Self

from clustercache.exceptions import AdminError

_PATIENCE = 20.0
_GRACE = 5.0


class PriceServers:
    """Processes that are told by a pipe what to do; when it is closed, they end.

    Args:
        url: Of the cluster.
        count: How many.
    """

    def __init__(self, url: str, count: int) -> None:
        words = [sys.executable, "-m", "clustercache.cli.demo.price_server", url]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._heard = [b""] * count
        try:
            for _ in range(count):
                self._processes.append(_started(words))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def others(self) -> range:
        """All but the first, by their numbers."""
        return range(1, len(self._processes))

    def ask(self, number: int, **request: Any) -> dict[str, Any]:
        """Tell one process what to do, and return its answer."""
        self.tell(number, **request)
        return self.hear(number)

    def ask_all(self, **request: Any) -> list[dict[str, Any]]:
        """Tell all processes what to do at the same time, and return their answers."""
        numbers = range(len(self._processes))
        for number in numbers:
            self.tell(number, **request)
        return [self.hear(number) for number in numbers]

    def tell(self, number: int, **request: Any) -> None:
        """Tell one process what to do."""
        pipe = _pipe(self._processes[number].stdin)
        try:
            pipe.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise _ended() from None

    def hear(self, number: int) -> dict[str, Any]:
        """Return the next answer of one process.

        Raises:
            AdminError: It has ended, or says nothing.
        """
        pipe = _pipe(self._processes[number].stdout)
        readable = select.poll()
        readable.register(pipe, select.POLLIN)
        while b"\n" not in self._heard[number]:
            if not readable.poll(_PATIENCE * 1000):
                raise AdminError("a process of the demo does not answer")
            data = os.read(pipe.fileno(), 65536)
            if not data:
                raise _ended()
            self._heard[number] += data
        line, _, self._heard[number] = self._heard[number].partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End them all."""
        for process in self._processes:
            with suppress(BrokenPipeError):  # it has ended already
                _pipe(process.stdin).close()
        for process in self._processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _pipe(process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this Python, and a module of ours
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the demo; they end when it closes the pipe
    )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - each was asked for
    return pipe


def _ended() -> AdminError:
    return AdminError("a process of the demo has ended by itself")
