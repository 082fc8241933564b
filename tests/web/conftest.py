"""What the tests of web servers share."""

from __future__ import annotations

from tests.faults.conftest import report  # noqa: F401 - a fixture
