"""Run Django's own tests of sessions against ours: python djangos_own.py FOLDER URL."""

from __future__ import annotations

# ruff: noqa: E402 - settings are given before what needs them is imported
import sys
import unittest
from contextlib import suppress

sys.path[:0] = [sys.argv[1]]

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a secret of the tests alone",
    SESSION_ENGINE="clustercache.django.sessions",
    CLUSTERCACHE_URL=sys.argv[2],
    USE_TZ=sys.argv[3] == "aware",
    INSTALLED_APPS=[
        "django.contrib.sessions",
        "sessions_tests",
        "clustercache.django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.test import SimpleTestCase
from django.test.utils import setup_test_environment
from sessions_tests import tests

from clustercache.django import SessionMiddleware, stores
from clustercache.django.sessions import SessionStore

setup_test_environment()
# The middleware's tests name these two.
tests.SessionMiddleware, tests.DatabaseSession = SessionMiddleware, SessionStore


class Engine(tests.SessionTestsMixin, SimpleTestCase):
    backend = SessionStore


class Middleware(SimpleTestCase):
    request_factory = tests.SessionMiddlewareTests.request_factory
    get_response_touching_session = staticmethod(
        tests.SessionMiddlewareTests.get_response_touching_session
    )


for name, function in vars(tests.SessionMiddlewareTests).items():
    # That one looks into Django's own table.
    if name.startswith("test_") and name != "test_empty_session_saved":
        setattr(Middleware, name, function)

load = unittest.defaultTestLoader.loadTestsFromTestCase
suite = unittest.TestSuite([load(Engine), load(Middleware)])
result = unittest.TextTestRunner(verbosity=0).run(suite)
with suppress(django.core.exceptions.SynchronousOnlyOperation):
    stores.store().close()
print(result.testsRun, len(result.skipped))  # noqa: T201 - for who runs this
sys.exit(not result.wasSuccessful())
