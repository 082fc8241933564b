"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.clusters import cluster, nothing_left_behind  # noqa: F401 - fixtures for all
from tests.faces import shell  # noqa: F401
from tests.portal import connect  # noqa: F401

# A shared machine is slow at times, which is no property of the code under test; a failure in CI
# must be reproducible from its output alone.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
