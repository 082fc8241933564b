"""What all fault tests share."""

from __future__ import annotations

import pytest

from clustercache.localcluster import LocalCluster


@pytest.fixture(scope="module")
def cluster():
    """One of a module's own: slots stay where they were moved to."""
    with LocalCluster() as made:
        yield made


@pytest.fixture
def report(record_property):
    """Record a figure, and print it among the test's output."""

    def record(name, value):
        value = round(value, 4) if isinstance(value, float) else value
        record_property(name, value)
        print(f"{name}: {value}")  # noqa: T201 - shown by `pytest -rP`, and where a test fails

    return record
