"""Figures as people read them."""

from __future__ import annotations

import pytest

from clustercache.caching.units import aligned, counted, in_bytes, in_seconds, share


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.000_000_1, "0.1 µs"),
        (0.000_999, "999 µs"),
        (0.000_999_6, "1 ms"),
        (0.012_34, "12.3 ms"),
        (0.999_6, "1 s"),
        (99.94, "99.9 s"),
        (119.9, "120 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (172_800, "2 d"),
        (1e9, "11,574 d"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_suits_it(seconds, shown):
    assert in_seconds(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (123_456, "121 KiB"),
        (1 << 20, "1 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 60, "1,048,576 TiB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_suits_it(size, shown):
    assert in_bytes(size) == shown


def test_counts_and_shares():
    assert counted(1234567) == "1,234,567"
    assert share(0.99999) == "99.9%"
    assert [share(part / 1000) for part in (0, 1, 290, 570, 999, 1000)] == [
        "0.0%",
        "0.1%",
        "29.0%",
        "57.0%",
        "99.9%",
        "100.0%",
    ]
    assert share(None) == "-"


def test_names_stand_on_the_left_and_figures_on_the_right():
    assert aligned([("name", "n"), ("a", "10,000"), ("long name", "")]) == [
        "name            n",
        "a          10,000",
        "long name",
    ]
