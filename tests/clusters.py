"""Local clusters that several layers of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clustercache.localcluster import LocalCluster, installed_servers

INSTALLED = {server.name: server for server in installed_servers()}


@pytest.fixture(scope="module")
def cluster():
    """Three primaries with one replica each; a test that breaks it makes one of its own."""
    with LocalCluster() as made:
        yield made


def need_server(name):
    """Return an installed server by its name, or skip the test."""
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed")
    return INSTALLED[name]


def need_tls():
    """Return an installed server that was built with TLS, or skip the test."""
    for server in INSTALLED.values():
        if server.has_tls:
            return server
    return pytest.skip("no server with TLS is installed")


def is_alive(pid):
    """Tell whether a process runs; a zombie that nobody reaped yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
