"""A proxy that delays bytes at random and tears them apart, in a process of its own.

    python -m tests.faults.proxy '{"delay": 0.005, "piece": 64, "seed": 1}' 127.0.0.1:7000 ...

prints a JSON list with one port for each address, serves them, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from clustercache.localcluster import Node

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


@contextmanager
def torn(
    nodes: Iterable[Node], *, delay: float = 0.005, piece: int = 4096, seed: int = 0
) -> Iterator[Callable[[tuple[str, int]], tuple[str, int]]]:
    """Start a proxy before servers; yield what a client takes as `address_remap`.

    Args:
        nodes: The servers.
        delay: The longest rest between two pieces, in seconds; most have none.
        piece: The most bytes of a piece.
        seed: Of the rests and the pieces.
    """
    addresses = [(node.host, node.port) for node in nodes]
    options = json.dumps({"delay": delay, "piece": piece, "seed": seed})
    words = [sys.executable, "-m", "tests.faults.proxy", options]
    words += [f"{host}:{port}" for host, port in addresses]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        ports = json.loads(process.stdout.readline())
        there = {address: (HOST, port) for address, port in zip(addresses, ports, strict=True)}
        try:
            yield lambda address: there[tuple(address)]
        finally:
            process.stdin.close()
            process.wait(10)


class _Tearing:
    def __init__(self, delay: float, piece: int, seed: int) -> None:
        self._delay = delay
        self._piece = piece
        self._random = random.Random(seed)

    async def serve(
        self, upstream: tuple[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Join one client to a server, until either hangs up."""
        with suppress(OSError):
            there, here = await asyncio.open_connection(*upstream)
            await asyncio.gather(self._pump(reader, here), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        draw = self._random
        try:
            while data := await reader.read(draw.randint(1, self._piece)):
                if draw.random() < 0.2:
                    await asyncio.sleep(draw.random() * self._delay)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # what is left to say, nobody hears
        finally:
            writer.close()


async def _main(options: dict[str, Any], addresses: list[str]) -> None:
    tearing = _Tearing(**options)
    ports = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(partial(tearing.serve, (host, port)), HOST)
        ports.append(server.sockets[0].getsockname()[1])
    print(json.dumps(ports), flush=True)  # noqa: T201 - whoever started it reads this
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1]), sys.argv[2:]))
