"""Local clusters that several layers of tests share."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import pytest

from clustercache.localcluster import LocalCluster, installed_servers

INSTALLED = {server.name: server for server in installed_servers()}


_MARK = f"CLUSTERCACHE_TEST_SESSION={uuid.uuid4()}"


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind():
    """Fail the session if a server or supervisor of its own outlives it."""
    os.environ.update([_MARK.split("=")])
    yield
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if _MARK.encode() in (process / "environ").read_bytes().split(b"\0"):
                left.append(f"{process.name} {command}")
        except OSError:
            continue  # gone meanwhile, or somebody else's
    left = [one for one in left if "server.conf" in one or "supervisor.py" in one]
    assert not left, f"still running: {left}"


@pytest.fixture(scope="module")
def cluster():
    """Three primaries with one replica each; a test that breaks it makes one of its own."""
    with LocalCluster() as made:
        yield made


def need_server(name):
    """Return an installed server by name or flavour, or skip the test; in CI it must be there."""
    flavours = {server.flavour: server for server in reversed(INSTALLED.values())}
    if name not in {*INSTALLED, *flavours}:
        # The package with Redis 6.2 has no wheels for later Pythons.
        optional = name == "redis-6.2" and sys.version_info >= (3, 12)
        missing(f"{name} is not installed", optional=optional)
    return INSTALLED.get(name) or flavours[name]


def missing(what, *, optional=False):
    """Skip the test; in CI, fail it unless what is missing may be."""
    if os.environ.get("CI") and not optional:
        pytest.fail(what)
    pytest.skip(what)


def need_tls():
    """Return an installed server that was built with TLS, or skip the test as `need_server`."""
    for server in INSTALLED.values():
        if server.has_tls:
            return server
    return missing("no server with TLS is installed")


def is_alive(pid):
    """Tell whether a process runs; a zombie that nobody reaped yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
