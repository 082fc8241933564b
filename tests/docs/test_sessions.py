"""docs/sessions.md: its table is made from `SessionSettings`, and its Django settings are tried.

`python -m tests.docs.test_sessions` writes it anew.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from clustercache.sessions.settings import SessionSettings

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "sessions.md"
BEGIN, END = "<!-- settings -->\n", "<!-- end of settings -->\n"
ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)

DJANGO = re.compile(r"^```python\n([^`]*^SESSION_ENGINE = [^`]*)^```$", re.MULTILINE)
REST = """
from django.http import JsonResponse
from django.urls import path

SECRET_KEY, ROOT_URLCONF = "x" * 50, "shop"
ALLOWED_HOSTS = ["testserver"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def count(request):
    request.session["seen"] = request.session.get("seen", 0) + 1
    return JsonResponse({"seen": request.session["seen"], "user": str(request.user)})


urlpatterns = [path("", count)]
"""
SHOP = """
import django
from django.core import checks, management
from django.test import Client

django.setup()
print([found.id for found in checks.run_checks()])
management.call_command("migrate", verbosity=0)
from django.contrib.auth.models import User

browser = Client()
print([browser.get("/").json()["seen"] for _ in range(2)], *browser.cookies)
browser.force_login(User.objects.create_user("u1"))
print(browser.get("/").json())
from clustercache.sessions import SessionStore
print([info.user for info in SessionStore.from_url("memory://shop").sessions_of("1")])
"""


def meanings():
    _, _, text = inspect.getdoc(SessionSettings).partition("Args:\n")
    return {name: " ".join(told.split()) for name, told in ARGUMENT.findall(text)}


def default(field):
    if field.default is MISSING:
        return f"{field.default_factory.__name__}()"
    if field.default == ():
        return "none"
    if isinstance(field.default, float):
        return f"{field.default:g}"
    return f"{field.default!r}".replace("'", '"')


def table():
    told = meanings()
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for field in fields(SessionSettings):
        yield f"| `{field.name}` | `{default(field)}` | {told[field.name]} |"


def written():
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join(table()) + "\n" + END + after


def test_the_page_has_the_settings_own_table():
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_setting_has_its_meaning():
    assert list(meanings()) == [field.name for field in fields(SessionSettings)]


@pytest.mark.live
def test_the_django_settings_serve_a_login(tmp_path):
    (settings,) = DJANGO.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "shop.py").write_text(settings + REST)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHOP],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "DJANGO_SETTINGS_MODULE": "shop"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "['clustercache.W005']",  # memory:// is for tests, as this is
        "[1, 2] session",
        "{'seen': 3, 'user': 'u1'}",
        "['1']",
    ]


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
