"""What the frameworks' tests share."""

from __future__ import annotations

import asyncio
import itertools

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def tables():
    """Django's database, with its tables."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connections

    from tests.frameworks import django_site  # noqa: F401 - gives the settings first

    call_command("migrate", run_syncdb=True, verbosity=0)
    yield
    connections.close_all()
    settings.DATABASES["default"]["NAME"].unlink(missing_ok=True)


@pytest.fixture
def site(cluster):
    """The Django project, on the cluster; yields what changes its settings."""
    from tests.frameworks import django_site  # noqa: F401, I001 - gives the settings first
    from django.test import override_settings

    from clustercache.django import stores

    with override_settings(CLUSTERCACHE_URL=cluster.url):
        yield override_settings
        asyncio.run(stores.astore().aclose())


@pytest.fixture
def user(tables):
    """A new user of Django's, whose password is "secret"."""
    from django.contrib.auth import get_user_model

    name = f"user-{next(_numbers)}"
    return get_user_model().objects.create_superuser(name, f"{name}@example.org", "secret")


@pytest.fixture
def caching(cluster):
    """The cluster as Django's cache; yields what configures further ones, apart from others'."""
    from tests.frameworks import django_site  # noqa: F401, I001 - gives the settings first
    from django.core.cache import caches
    from django.test import override_settings

    from clustercache.django.caches import close_all

    # A busy machine is no reason to do without what the servers have.
    usual = {"namespace": f"site-{next(_numbers)}", "deadline": 8}

    def configured(**entries):
        common = {"BACKEND": "clustercache.django.ClusterCache", "LOCATION": cluster.url}
        entries = {
            alias: {
                **common,
                **entry,
                "OPTIONS": {**usual, **entry.get("OPTIONS", {})},
            }
            for alias, entry in {"default": {}, **entries}.items()
        }
        return override_settings(CACHES=entries)

    with configured():
        yield configured
        caches["default"].clear()
    close_all()
