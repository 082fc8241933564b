"""Flask-Caching's own tests of what every backend does, for ours."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

# Their conftest starts servers with a plugin that is not needed here.
sys.modules["xprocess"] = ModuleType("xprocess")
sys.modules["xprocess"].ProcessStarter = object

from test_backend_cache import GenericCacheTests  # noqa: E402


class TestClusterCacheBackend(GenericCacheTests):
    _can_use_fast_sleep = False

    @pytest.fixture
    def make_cache(self, app, cache):
        return lambda: app.extensions["cache"][cache]
