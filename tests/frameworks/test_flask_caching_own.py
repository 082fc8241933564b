"""Flask-Caching's own tests hold with our backend: those of any backend, and of its decorators.

Left out are whole files that are about something else: test_basic_app.py and test_init.py (how its
own backends are configured), test_cachelib.py (classes of cachelib as backends), test_serializer.py
(a serializer that is assigned to a backend; ours takes it as an option), test_py314_annotations.py
(how functions are looked at, in Python 3.14), and of test_backend_cache.py all but what holds for
every backend. What is left out of the other files stands in `LEFT_OUT`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frameworks.sdists import own_tests, run_own

pytestmark = pytest.mark.live
HERE = Path(__file__).parent
SITE = ["-p", "tests.frameworks.flask_caching_site"]
LEFT_OUT = {
    "test_cache.py::test_cache_unlink": "is for a RedisCache at a port of its own",
    "test_cache.py::test_cache_unlink_if_not": "is for a SimpleCache",
    "test_cache.py::test_cache_delete_many_ignored": "is for a SimpleCache",
    "test_hash_method.py::test_file_hash_method_is_independent": "is for a FileSystemCache",
}


def test_every_backends_tests_pass(cluster):
    own = own_tests("Flask-Caching")
    last = run_own(cluster.url, own, *SITE, HERE / "flask_cachings_own.py")
    assert last.startswith("13 passed in ")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cache", 27),
        ("hash_method", 9),
        ("memoize", 56),
        ("signals", 8),
        ("subclassing", 7),
        ("templates", 1),
        ("view", 31),
    ],
)
def test_the_decorators_tests_pass(cluster, name, count):
    own = own_tests("Flask-Caching")
    left = [f"--deselect={test}" for test in LEFT_OUT]
    last = run_own(cluster.url, own, *SITE, *left, own / f"test_{name}.py")
    assert last.startswith(f"{count} passed")
