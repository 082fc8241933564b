"""dogpile.cache's own tests hold with our backend: its suites for backends, locks and decorators.

Left out are those of its own backends, one by one (test_*_backend.py, but for the test there of
creators in other threads), of regions with a backend that is made up for them (test_region.py and
CacheDecoratorTest), and of what needs no backend (keys, locks without one, Mako).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frameworks.sdists import own_tests, run_own

pytestmark = pytest.mark.live


def test_dogpiles_own_tests_pass(cluster):
    ours = Path(__file__).with_name("dogpiles_own.py")
    marks = ["-o", "markers=time_intensive: takes a while"]
    own = own_tests("dogpile.cache") / "cache"
    last = run_own(cluster.url, own, *marks, ours)
    assert last.startswith("71 passed")
