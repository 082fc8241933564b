"""The command line, run in this process or as one of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from clustercache.cli.group import commands

ROOT = Path(__file__).parents[2]
URLS = {"CLUSTERCACHE_URL": "", "VALKEY_URL": "", "REDIS_URL": ""}


def run(*args, text=None, **environment):
    """Run a command in this process, where no cluster is named by the environment."""
    words = [str(arg) for arg in args]
    return CliRunner().invoke(commands, words, input=text, env={**URLS, **environment})


@contextlib.contextmanager
def started(*args, **environment):
    """Run a command as a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "clustercache.cli", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def family(process):
    """The processes below one: the supervisor, and its servers."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {process.pid}
    for _ in range(3):
        found |= {pid for pid, parent in parents.items() if parent in found}
    return found - {process.pid}


def lines_until(process, text):
    """Read what a process prints until a line with `text`."""
    lines = []
    while not lines or (lines[-1] and text not in lines[-1]):
        lines.append(process.stdout.readline())
    return "".join(lines)
