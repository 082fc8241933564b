"""docs/django.md: its settings and its views are a project that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "django.md"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST = """
SECRET_KEY, ROOT_URLCONF, DEBUG = "x" * 50, "urls", True
ALLOWED_HOSTS = ["testserver"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
URLS = """
import views
from django.urls import path

urlpatterns = [path(name, getattr(views, name)) for name in ["home", "report", "restock"]]
"""
VISIT = """
import django
from django.core import checks
from django.test import Client

django.setup()
print([found.id for found in checks.run_checks()
       if found.id.startswith("clustercache")])
browser = Client()
for name in ["home", "home", "report", "restock", "home"]:
    print(browser.get("/" + name).json())
"""


@pytest.mark.live
def test_the_project_of_the_page_works(tmp_path):
    settings, views = FENCE.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "shop.py").write_text(settings + REST)
    (tmp_path / "views.py").write_text(views)
    (tmp_path / "urls.py").write_text(URLS)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", VISIT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "DJANGO_SETTINGS_MODULE": "shop"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "[]",
        "{'sold': ['tea', 'cake'], 'questions': 1}",
        "{'sold': ['tea', 'cake'], 'questions': 1}",
        "{'text': 'all is well', 'lasts': True}",
        "{'gone': 1}",
        "{'sold': ['tea', 'cake'], 'questions': 2}",
    ]
