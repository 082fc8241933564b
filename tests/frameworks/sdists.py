"""Other projects' own tests, which only their source distributions have: fetched once, and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from tests.clusters import missing

ROOT = Path(__file__).resolve().parents[2]


def own_tests(project, *only):
    """Return the folder `tests` of an installed project's own release.

    Without it the test fails in CI, and is skipped elsewhere.

    Args:
        project: Its name.
        only: The folders in it that are wanted; else there is all of it.
    """
    pinned = f"{project}=={version(project)}"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(cache) / "clustercache-tests" / pinned.replace("==", "-")
    lacking = [name for name in only or [""] if not (kept / name).exists()]
    if lacking:
        (kept if only else kept.parent).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            _extract(_download(project, pinned, folder), Path(folder), only)
            for name in lacking:
                with suppress(OSError):  # another process of the tests was first
                    (Path(folder) / "tests" / name).rename(kept / name)
    return kept


def _download(project, pinned, folder):
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-binary", project, "--dest", folder, pinned],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if done.returncode:
        missing(f"the own tests of {pinned} cannot be fetched: {done.stderr[-300:]}")
    (found,) = Path(folder).glob("*.tar.gz")
    return found


def _extract(archive, folder, only):
    wanted = tuple(f"tests/{name}/" for name in only) or "tests/"
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, name = member.name.partition("/")
            if name.startswith(wanted) and member.isfile():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())


def run_own(url, own, *words):
    """Run a project's tests in a process of their own, without our fixtures; return the last line.

    Args:
        url: Of the cluster; the tests find it as CLUSTERCACHE_URL.
        own: The folder of these tests.
        words: Files and options for pytest.
    """
    common = ["--noconftest", "-c", os.devnull, f"--rootdir={own}", "-q", "-W", "error"]
    plugins = ["--import-mode=importlib", "-p", "no:randomly", "-p", "no:cacheprovider"]
    path = os.pathsep.join(map(str, [ROOT, own]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *common, *plugins, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "CLUSTERCACHE_URL": url, "CI": ""},
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout.splitlines()[-1]
