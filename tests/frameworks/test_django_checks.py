"""`manage.py check` explains what of the settings cannot work, or not as was meant."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.apps import apps
from django.contrib.admin.checks import check_dependencies
from django.core import checks
from django.test import override_settings

from clustercache.django.cache_checks import check_caches
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


OURS = {"BACKEND": "clustercache.django.ClusterCache", "LOCATION": URL}


@pytest.mark.parametrize(
    ("wrong", "changed"),
    [
        ([], {}),
        ([], {"OPTIONS": {"near": True, "max_connections": 3}, "TIMEOUT": None}),
        (["E012"], {"LOCATION": ""}),
        (["E012"], {"OPTIONS": {"neer": True}}),
        (["E012"], {"OPTIONS": {"near": {"size": 3}}}),
        (["W013"], {"TIMOUT": 5}),
        (["W014"], {"LOCATION": "memory://"}),
        (["W013", "W014"], {"LOCATION": "null://", "near": True}),
        ([], {"BACKEND": "django.core.cache.backends.dummy.DummyCache", "TIMOUT": 5}),
        ([], {"BACKEND": "no.such.Cache"}),
    ],
)
def test_each_wrong_cache_is_named(wrong, changed):
    with override_settings(CACHES={"default": {**OURS}, "other": {**OURS, **changed}}):
        assert [one.id.removeprefix("clustercache.") for one in check_caches()] == wrong


def test_a_memory_is_no_trouble_in_development_for_a_cache_either():
    caches = {"default": {**OURS, "LOCATION": "memory://"}}
    with override_settings(CACHES=caches, DEBUG=True):
        assert check_caches() == []


def test_django_runs_the_check_of_caches():
    with override_settings(CACHES={"default": {**OURS, "OPTIONS": {"neer": True}}}):
        (found,) = checks.run_checks(tags=["caches"])
    assert (found.id, "neer" in found.msg) == ("clustercache.E012", True)


def test_django_runs_the_check_and_the_admin_takes_our_middleware():
    with override_settings(CLUSTERCACHE_URL=None):
        ids = [one.id for one in checks.run_checks(tags=["security"])]
    assert "clustercache.E002" in ids
    assert check_dependencies(app_configs=apps.get_app_configs()) == []


def test_a_project_without_users_passes():
    told = (
        "import django; from django.conf import settings;"
        "settings.configure(SECRET_KEY='x' * 50, INSTALLED_APPS=['clustercache.django'],"
        " CACHES={'default': {'BACKEND': 'clustercache.django.ClusterCache',"
        " 'LOCATION': 'redis://127.0.0.1:7000'}});"
        "django.setup(); from django.core.checks import run_checks; print(run_checks())"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
