"""Django's own tests of its session engines and of its middleware, all of them, hold for ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.django_sdist import folder_of_tests

pytestmark = pytest.mark.live
HERE = Path(__file__).parent


@pytest.mark.parametrize("times", ["aware", "naive"])
def test_djangos_own_tests_pass(cluster, times):
    words = [HERE / "djangos_own.py", folder_of_tests(), cluster.url, times]
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
    run, skipped = map(int, done.stdout.split())
    assert run >= 75
    assert skipped == 0
