"""Every fenced Python block of the README and of docs/ runs as it stands.

The blocks of one file are one program: they run in order and share their names, in an empty
directory. A block that cannot run does not belong in the documentation.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from clustercache.caching.default import unconfigure

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def python_blocks(page):
    """The blocks of a page, each compiled so that a traceback names the page and its line."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        lines_before = text.count("\n", 0, block.start(1))
        yield compile("\n" * lines_before + block.group(1), str(page), "exec")


def test_the_readme_has_examples():
    assert list(python_blocks(ROOT / "README.md"))


@pytest.fixture
def no_default_cache():
    """For a page that makes one: it would be that of all later tests."""
    yield
    unconfigure()


@pytest.mark.live
@pytest.mark.usefixtures("no_default_cache")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if FENCE.search(page.read_text(encoding="utf-8"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_examples_of_a_page_run_as_they_stand(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = ModuleType("__main__")
    for block in python_blocks(page):
        exec(block, program.__dict__)
