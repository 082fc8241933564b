"""Patterns match in this process what they match at a server."""

from __future__ import annotations

import pytest

from clustercache import Cluster
from clustercache.django.patterns import escaped, matcher

pytestmark = pytest.mark.live
NAMES = [
    "", "a", "b", "ab", "abc", "a*", "a?c", "a[b]", "a\\", "a^", "^", "-", "]", "a]", "a-", "ä",
    "a\nb", "c", "z", "\\",
]  # fmt: skip
PATTERNS = [
    "*", "?", "a*", "*b", "a*c", "**c", "a?", "??", "[ab]", "[^ab]", "[a-c]", "[c-a]", "[^a-c]*",
    "a[*]", "a\\*", "a\\?c", "a\\[b\\]", "a\\\\", "a[\\]]", "[\\^]", "a[\\\\]", "a[b", "\\a",
    "[a-b-]",
    "ä", "a.", "a+", "(a)", "a|b", "^a$", "[]", "[^]", "[ab]*", "a^",
]  # fmt: skip


@pytest.fixture(scope="module")
def stored(cluster):
    with Cluster.from_url(cluster.url) as client:
        client.mset({f"patterns:{name}": 1 for name in NAMES})
        yield client
        client.delete(*(f"patterns:{name}" for name in NAMES))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_here_what_it_matches_there(stored, pattern):
    theirs = {key.decode() for key in stored.scan_iter(f"patterns:{pattern}")}
    matches = matcher(f"patterns:{pattern}")
    assert {f"patterns:{name}" for name in NAMES if matches(f"patterns:{name}")} == theirs


@pytest.mark.parametrize("name", NAMES)
def test_what_is_escaped_matches_itself_alone(stored, name):
    pattern = f"patterns:{escaped(name)}"
    assert [key.decode() for key in stored.scan_iter(pattern)] == [f"patterns:{name}"]
    assert [one for one in NAMES if matcher(pattern)(f"patterns:{one}")] == [name]
