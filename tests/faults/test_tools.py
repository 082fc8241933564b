"""What the fault tests of tasks use: it tears and delays, and sees what keeps a loop."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import pytest

from clustercache import Cluster
from tests.faults.aload import Lag
from tests.faults.proxy import torn

if TYPE_CHECKING:
    from clustercache.localcluster import LocalCluster

pytestmark = pytest.mark.faults


def test_the_watch_on_a_loop_sees_what_keeps_it() -> None:
    async def watched(seconds: float) -> float:
        lag = Lag()
        await asyncio.sleep(0.05)
        time.sleep(seconds)  # noqa: ASYNC251 - what the watch is for
        await asyncio.sleep(0.05)
        lag.stop()
        return lag.worst(0.0, time.monotonic())

    assert 0.15 < asyncio.run(watched(0.2)) < 2.0


def test_the_proxy_changes_no_byte_and_leaves_nothing_behind(cluster: LocalCluster) -> None:
    value = bytes(range(256)) * 40
    with torn(cluster.nodes, piece=64, delay=0.001) as remap:
        with Cluster.from_url(cluster.url, address_remap=remap) as client:
            for number in range(6):
                assert client.set(f"proxy:{number}", value)
                assert client.get(f"proxy:{number}") == value
        ports = [remap((node.host, node.port)) for node in cluster.nodes]
    for address in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=1)


def test_the_proxy_tears_what_was_written_at_once(cluster: LocalCluster) -> None:
    node = cluster.primaries[0]
    with (
        torn([node], piece=8) as remap,
        socket.create_connection(remap((node.host, node.port))) as s,
    ):
        s.settimeout(10)
        s.sendall(b"*2\r\n$4\r\nECHO\r\n$200\r\n" + b"x" * 200 + b"\r\n")
        got = []
        while sum(map(len, got)) < 208:
            got.append(s.recv(65536))
    assert b"".join(got) == b"$200\r\n" + b"x" * 200 + b"\r\n"
    assert len(got) > 3
