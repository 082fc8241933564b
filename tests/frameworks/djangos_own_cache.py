"""Run Django's own tests of caches against ours: python djangos_own_cache.py FOLDER URL HALF.

HALF is "blocking", "awaited" (the same tests, each call by the method that begins with an a),
"near" (blocking, with a near cache), or "middleware" (what Django builds on a cache).
"""

from __future__ import annotations

# ruff: noqa: E402 - settings are given before what needs them is imported
import sys
import unittest

_, FOLDER, URL, HALF = sys.argv
sys.path[:0] = [FOLDER]

import django
from asgiref.sync import async_to_sync
from django.conf import settings

USUAL = {"deadline": 8}  # a busy machine is no reason to do without what the servers have
BASE = {"BACKEND": "clustercache.django.ClusterCache", "LOCATION": URL, "OPTIONS": USUAL}
settings.configure(
    SECRET_KEY="a secret of the tests alone",
    CACHES={"default": BASE},
    INSTALLED_APPS=["cache", "clustercache.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    STATIC_URL="/static/",
    ROOT_URLCONF="cache",
    LANGUAGE_CODE="en",
    USE_TZ=False,
)
django.setup()

from cache import tests, tests_async
from django.core.cache import caches
from django.core.management import call_command
from django.test import TestCase, override_settings
from django.test.utils import setup_test_environment

setup_test_environment()
call_command("migrate", run_syncdb=True, verbosity=0)

LEFT_OUT = {
    # Servers bound their memory by themselves (maxmemory), and so does `memory://`.
    "test_cull": "there is no MAX_ENTRIES",
    "test_zero_cull": "there is no CULL_FREQUENCY",
    "test_cull_delete_when_store_empty": "there is no MAX_ENTRIES",
}
INSIDE = {
    # Since Django 6.1. They run as "blocking"; to be awaited, what they look into is no backend.
    name: "compares the backend's functions"
    for name in dir(tests.BaseCacheTests)
    if name.endswith("_async_uses_specialized_implementation")
}
OF_THE_DUMMY = {
    # tests_async has tests of the dummy cache alone; these hold only for what keeps nothing.
    "test_simple": "expects that nothing is kept",
    "test_aadd": "expects that nothing is kept",
    "test_aget_many": "expects that nothing is kept",
    "test_adelete": "expects that nothing is kept",
    "test_ahas_key": "expects that nothing is kept",
    "test_aincr": "expects that nothing is kept",
    "test_adecr": "expects that nothing is kept",
    "test_aincr_version": "expects that nothing is kept",
    "test_adecr_version": "expects that nothing is kept",
    "test_aget_or_set": "expects that nothing is kept",
    "test_data_types": "stores a function that cannot be pickled",
    "test_expiration": "expects that nothing is kept",
    "test_unicode": "expects that nothing is kept",
}
ON_A_CACHE = (
    "CacheHandlerTest", "CacheHEADTest", "CacheI18nTest", "CacheMiddlewareTest", "CacheUtils",
    "PrefixedCacheI18nTest", "PrefixedCacheUtils", "TestWithTemplateResponse",
)  # fmt: skip
"""Classes of tests of what Django builds on a cache; they are run with ours instead of locmem."""


class Awaited:
    """A cache whose methods call their asynchronous twins, each in an event loop of its own."""

    def __init__(self, find):
        vars(self).update(_find=find)

    def __getattr__(self, name):
        backend = self._find()
        method = getattr(backend, f"a{name}", None)
        return getattr(backend, name) if method is None else async_to_sync(method)

    def __setattr__(self, name, value):
        setattr(self._find(), name, value)

    def __contains__(self, key):
        return self.has_key(key)


class AllAwaited:
    def __getitem__(self, alias):
        backend = caches[alias]
        return Awaited(lambda: backend)


def without(kind, left_out):
    for name in left_out:
        assert hasattr(kind, name), f"{name} is not there to be left out"
    kept = {name for name in dir(kind) if name.startswith("test_")} - left_out.keys()
    return lambda case: unittest.TestSuite(map(case, sorted(kept)))


def whole(left_out=LEFT_OUT, **options):
    params = {**BASE, **options}
    setting = tests.caches_setting_for_tests(base=params, exclude={"cull", "zero_cull"})
    own = override_settings(CACHES=setting)(type("Own", (tests.BaseCacheTests, TestCase), {}))
    return without(tests.BaseCacheTests, left_out)(own)


def awaited():
    stored = whole(LEFT_OUT | INSIDE)
    kind = tests_async.AsyncDummyCacheTests
    own = {"tearDown": tests.BaseCacheTests.tearDown}
    dummies = override_settings(CACHES={"default": BASE})(type("Dummies", (kind,), own))
    tests.caches = AllAwaited()
    tests.cache = Awaited(lambda: caches["default"])
    return unittest.TestSuite([stored, without(kind, OF_THE_DUMMY)(dummies)])


def over_ours(kind):
    """Return a class of tests with ours in place of each of its caches, and apart as they were."""
    theirs = (kind._overridden_settings or {}).get("CACHES", {"default": {}})
    ours = {
        alias: {**entry, **BASE, "OPTIONS": {**USUAL, "namespace": alias}}
        for alias, entry in theirs.items()
    }
    return override_settings(CACHES=ours)(type(kind.__name__, (kind,), {}))


def middleware():
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return unittest.TestSuite(load(over_ours(getattr(tests, name))) for name in ON_A_CACHE)


suites = {
    "blocking": whole,
    "near": lambda: whole(OPTIONS={**USUAL, "near": True}),
    "awaited": awaited,
    "middleware": middleware,
}
result = unittest.TextTestRunner(verbosity=0).run(suites[HALF]())
print(result.testsRun, len(result.skipped))  # noqa: T201 - for who runs this
sys.exit(not result.wasSuccessful())
