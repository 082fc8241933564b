"""Django's own tests, which only its source distribution has: fetched once, and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import django
import pytest

_WANTED = ("sessions_tests", "cache")
_FOLDERS = tuple(f"tests/{name}/" for name in _WANTED)


def folder_of_tests():
    """Return the folder that has `sessions_tests` and `cache` of the installed Django.

    Without it the test fails in CI, and is skipped elsewhere.
    """
    version = django.get_version()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(cache) / "clustercache-tests" / f"django-{version}"
    lacking = [name for name in _WANTED if not (kept / name / "tests.py").exists()]
    if lacking:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            _extract(_download(version, folder), folder)
            for name in lacking:
                with suppress(OSError):  # another process of the tests was first
                    (Path(folder) / "tests" / name).rename(kept / name)
    return kept


def _download(version, folder):
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-binary", ":all:", "--dest", folder, f"django=={version}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if done.returncode:
        why = f"Django's own tests cannot be fetched: {done.stderr[-300:]}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    (found,) = Path(folder).glob("*.tar.gz")
    return found


def _extract(archive, folder):
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, name = member.name.partition("/")
            if name.startswith(_FOLDERS) and member.isfile():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())
