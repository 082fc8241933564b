"""The application, for INSTALLED_APPS: it registers the checks."""

from __future__ import annotations

from django.apps import AppConfig


class ClusterCacheConfig(AppConfig):  # type: ignore[misc]
    """clustercache, as Django knows it."""

    name = "clustercache.django"
    label = "clustercache"
    verbose_name = "clustercache"

    def ready(self) -> None:
        """Register the checks, and end sessions where passwords change."""
        from clustercache.django import checks, users

        checks.register()
        users.connect()
