"""`manage.py check` explains what of the settings cannot work, or not as was meant."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.admin.checks import check_dependencies
from django.core import checks
from django.test import override_settings

from clustercache.django.checks import check_sessions
from tests.frameworks import django_site  # noqa: F401 - gives the settings first
from tests.frameworks.django_site import MIDDLEWARE, STOCK

URL = "redis://127.0.0.1:7000"


def found(**changed):
    with override_settings(**{"CLUSTERCACHE_URL": URL, **changed}):
        return [one.id.removeprefix("clustercache.") for one in check_sessions()]


def test_good_settings_pass():
    assert found() == []
    assert found(CLUSTERCACHE_SESSIONS={"limit": 3, "max_connections": 9}) == []


@pytest.mark.parametrize(
    ("wrong", "changed"),
    [
        ("W001", {"SESSION_ENGINE": "django.contrib.sessions.backends.db"}),
        ("E002", {"CLUSTERCACHE_URL": None}),
        ("E003", {"CLUSTERCACHE_URL": "http://nowhere"}),
        ("E003", {"CLUSTERCACHE_SESSIONS": {"lifetme": 3}}),
        ("E003", {"SESSION_COOKIE_AGE": 0}),
        ("W004", {"CLUSTERCACHE_SESSIONS": {"lifetime": 3600}}),
        ("W005", {"CLUSTERCACHE_URL": "memory://"}),
        ("E006", {"MIDDLEWARE": [MIDDLEWARE, STOCK]}),
        ("W007", {"MIDDLEWARE": [STOCK]}),
        ("E008", {"SESSION_SERIALIZER": "some.PickleSerializer"}),
        ("W009", {"SESSION_SERIALIZER": "some.Serializer"}),
        ("E010", {"SESSION_COOKIE_NAME": "__Secure-id"}),
        ("E011", {"SESSION_COOKIE_NAME": "__Host-id", "SESSION_COOKIE_SECURE": True,
                  "SESSION_COOKIE_PATH": "/shop/"}),
    ],
)  # fmt: skip
def test_each_wrong_setting_is_named(wrong, changed):
    assert found(**changed) == [wrong]


def test_memory_is_no_trouble_in_development():
    assert found(CLUSTERCACHE_URL="memory://", DEBUG=True) == []


def test_django_runs_the_check_and_the_admin_takes_our_middleware():
    with override_settings(CLUSTERCACHE_URL=None):
        ids = [one.id for one in checks.run_checks(tags=["security"])]
    assert "clustercache.E002" in ids
    assert check_dependencies(app_configs=apps.get_app_configs()) == []
