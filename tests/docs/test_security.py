"""docs/security.md: each test that its table of sessions names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
NAME = re.compile(r"`(test_\w+)`")
TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def rows():
    """Return the rows of the table, as lists of cells."""
    section = PAGE.read_text().partition("\n## Sessions\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_row_names_a_test_that_exists():
    known = {name for file in ROOT.glob("tests/**/*.py") for name in TEST.findall(file.read_text())}
    assert len(rows()) >= 20
    for reference, claim, shown_by in rows():
        named = NAME.findall(shown_by)
        assert named, (reference, claim)
        assert set(named) <= known, (reference, set(named) - known)
