"""cachelib's own tests hold for our class.

Left out are those of a `serializer` that is assigned to a cache (serializer.py: only some of their
classes have one; ours takes it as an option), of keys that are functions (test_redis_cache.py: only
that class takes them), of their other classes' connections, and of `BaseCache` itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frameworks.sdists import own_tests, run_own

pytestmark = pytest.mark.live


def test_cachelibs_own_tests_pass(cluster):
    ours = Path(__file__).with_name("cachelibs_own.py")
    last = run_own(cluster.url, own_tests("cachelib"), ours)
    assert last.startswith("60 passed in ")
