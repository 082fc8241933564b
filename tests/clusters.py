"""Local clusters that several layers of tests share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from clustercache.localcluster import LocalCluster, installed_servers

INSTALLED = {server.name: server for server in installed_servers()}


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind():
    """Fail the session if a server of its own outlives it.

    They are known by their working directory, below one of this session's own: a server overwrites
    its arguments and environment with its title.
    """
    own = tempfile.mkdtemp(prefix="clustercache-tests-")
    usual, os.environ["TMPDIR"], tempfile.tempdir = os.environ.get("TMPDIR"), own, own
    yield
    left = [pid for pid, directory in _working_directories() if directory.startswith(own)]
    os.environ.pop("TMPDIR")
    if usual is not None:
        os.environ["TMPDIR"] = usual
    tempfile.tempdir = None
    shutil.rmtree(own, ignore_errors=True)
    assert not left, f"still running: {left}"


def _working_directories():
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield int(process.name), str((process / "cwd").readlink())
        except OSError:
            continue  # gone meanwhile, or somebody else's


@pytest.fixture(scope="session")
def cluster(nothing_left_behind):
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
