"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.asyncs import connect, shell  # noqa: F401 - either client
from tests.clusters import cluster, nothing_left_behind  # noqa: F401 - fixtures for all

# A shared machine is slow at times, which is no property of the code under test; a failure in CI
# must be reproducible from its output alone.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
