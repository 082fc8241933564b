"""The bench runs from end to end, with turns too short to measure anything."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

import clustercache
from tests.bench.__main__ import main
from tests.bench.contenders import of_kind
from tests.bench.loops import THREADS
from tests.bench.sites import FRAMEWORKS
from tests.bench.works import WORKS

MODULES = {
    "redis-py": "redis",
    "valkey-py": "valkey",
    "coredis": "coredis",
    "flask-session": "flask_session",
    "flask-session-changes": "flask_session",
    "django-redis": "django_redis",
    "django-rediscache": "django",
    "aiocache": "aiocache",
    "aiocache-memory": "aiocache",
    "cashews": "cashews",
    "cashews-memory": "cashews",
    "cashews-near": "cashews",
    "dogpile.cache": "dogpile",
}
REFUSED = "redis-py-near"  # by every server but Redis 7.4 and later


def modules(contender):
    """What has to be importable for it."""
    if contender.runs_on == "uvloop":
        yield "uvloop"
    if contender.runs_on in FRAMEWORKS:
        yield contender.runs_on.lower()
        if contender.name.startswith("clustercache"):
            yield f"clustercache.{contender.runs_on.lower()}"
    if contender.name == "valkey-glide":
        yield "glide_sync" if contender.runs_on == THREADS else "glide"
    elif contender.name in MODULES:
        yield MODULES[contender.name]


def installed(contender):
    ours = contender.name == "clustercache" and contender.runs_on != THREADS
    written = hasattr(clustercache, "AsyncCluster") or not ours
    return written and all(map(find_spec, modules(contender)))


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
@pytest.mark.timeout(400)
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
        contenders = {contender.name: contender for contender in of_kind(work.runs_on)}
        assert list(rows) == list(contenders)
        for name, row in rows.items():
            if name == REFUSED and row["kind"] == "missing":
                assert "7.4" in row["problem"]
                continue
            there = installed(contenders[name])
            assert row["kind"] == ("ok" if there else "missing"), row
            assert (row["cpu"][0] > 0 < row["wall"][0]) if there else row["problem"]
    assert not servers_in(tmp_path)
