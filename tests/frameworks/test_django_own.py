"""Django's own tests of sessions and caches, all of them but for those named, hold for ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.sdists import own_tests

pytestmark = pytest.mark.live
HERE = Path(__file__).parent


def run(script, url, variant):
    """Run tests in a process of their own; return how many there were, and how many skipped."""
    words = [HERE / script, own_tests("Django", "sessions_tests", "cache"), url, variant]
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=HERE.parents[1],
        env={"PYTHONPATH": str(HERE.parents[1])},
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return tuple(map(int, done.stdout.split()))


@pytest.mark.parametrize("times", ["aware", "naive"])
def test_djangos_own_tests_of_sessions_pass(cluster, times):
    ran, skipped = run("djangos_own.py", cluster.url, times)
    assert ran >= 75
    assert skipped == 0


@pytest.mark.parametrize(
    ("half", "least"), [("blocking", 51), ("awaited", 61), ("near", 51), ("middleware", 54)]
)
def test_djangos_own_tests_of_caches_pass(cluster, half, least):
    ran, skipped = run("djangos_own_cache.py", cluster.url, half)
    assert ran >= least
    assert skipped == 0
