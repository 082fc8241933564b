"""Several web servers of the shop, each a process, which end with the demo, however it ends."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from clustercache._core.address import Address
from clustercache.admin.waiting import wait_until
from clustercache.localcluster.supervised import Supervised

_HOST = "127.0.0.1"
_READY = 20.0


class ShopServers:
    """Web servers on free ports.

    Args:
        url: Of the cluster.
        count: How many.

    Attributes:
        addresses: Where they listen.
        pids: Their process ids, in the same order.
    """

    def __init__(self, url: str, count: int) -> None:
        self._supervised = Supervised(None)
        try:
            ports = self._supervised.ports([], count)
            self.addresses = [Address(_HOST, port) for port in ports]
            for address in self.addresses:
                self._start(address, url)
            for address in self.addresses:
                wait_until(partial(_why_not_ready, address), _READY, "the web servers")
            pids = self._supervised.pids()
        except BaseException:
            self.close()
            raise
        self.pids = [pids[str(address)] for address in self.addresses]

    def _start(self, address: Address, url: str) -> None:
        words = [sys.executable, "-m", "clustercache.cli.demo.shop", url, _HOST, str(address.port)]
        log = self._supervised.directory / f"{address.port}.log"
        self._supervised.start(str(address), words, Path.cwd(), log)

    def close(self) -> None:
        """End them all."""
        self._supervised.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _why_not_ready(address: Address) -> str | None:
    connection = HTTPConnection(address.host, address.port, timeout=5)
    with suppress(OSError, HTTPException):
        connection.request("GET", "/")
        if connection.getresponse().status == 200:
            connection.close()
            return None
    connection.close()
    return f"{address} does not answer"
