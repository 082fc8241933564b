"""The bench runs from end to end, with turns too short to measure anything."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.contenders import CONTENDERS
from tests.bench.works import WORKS

MODULES = {"redis-py": "redis", "valkey-py": "valkey", "valkey-glide": "glide_sync"}


def servers_in(directory):
    """The processes that run in a directory below this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append(process)
        except OSError:  # it ended meanwhile, or is none of ours
            continue
    return found


@pytest.mark.live
@pytest.mark.bench
def test_every_contender_does_every_work_right_and_the_report_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    page, figures = tmp_path / "benchmarks.md", tmp_path / "figures.json"
    options = ["--rounds", "1", "--seconds", "0.01", "--out", str(page), "--json", str(figures)]
    assert main(options) == 0
    works = json.loads(figures.read_text())["works"]
    assert list(works) == [work.name for work in WORKS]
    text = page.read_text()
    for work in WORKS:
        assert f"## {work.title}\n" in text
        rows = works[work.name]["microseconds"]
        assert list(rows) == [contender.name for contender in CONTENDERS]
        for name, row in rows.items():
            installed = find_spec(MODULES.get(name, "clustercache")) is not None
            assert row["kind"] == ("ok" if installed else "missing")
            assert (row["cpu"][0] > 0 < row["wall"][0]) if installed else row["problem"]
    assert not servers_in(tmp_path)
