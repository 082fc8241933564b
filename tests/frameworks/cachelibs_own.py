"""cachelib's own tests, for our class; test_cachelib_own.py runs them."""

from __future__ import annotations

import itertools
import os
import sys
from types import ModuleType

import pytest

from clustercache.cachelib import ClusterCache

# Their conftest starts servers with a plugin that is not needed here.
sys.modules["xprocess"] = ModuleType("xprocess")
sys.modules["xprocess"].ProcessStarter = object

from clear import ClearTests  # noqa: E402
from common import CommonTests  # noqa: E402
from conftest import key_prefix  # noqa: E402, F401 - a fixture of theirs
from delete_many_with_prefix import DeleteManyWithPrefixTests  # noqa: E402
from has import HasTests  # noqa: E402

_numbers = itertools.count()
_made = []


@pytest.fixture(autouse=True, params=["pickled", "near"])
def cache_factory(request, key_prefix):  # noqa: F811
    def make(self, *args, **kwargs):
        prefix = kwargs.pop("key_prefix", key_prefix) or "none"
        kwargs["namespace"] = f"{prefix}{os.getpid()}-{next(_numbers)}"
        near = 100 if request.param == "near" else None
        url = os.environ["CLUSTERCACHE_URL"]
        _made.append(ClusterCache(url, *args, signing_key="k" * 16, near=near, **kwargs))
        return _made[-1]

    request.cls.cache_factory = make
    yield
    while _made:
        _made.pop().close()


class TestClusterCache(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests):
    pass
