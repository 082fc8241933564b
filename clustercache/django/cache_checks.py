"""System checks of CACHES: what of it cannot work, or not as was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core import checks
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KNOWN: Final = frozenset(
    {"BACKEND", "KEY_FUNCTION", "KEY_PREFIX", "LOCATION", "OPTIONS", "TIMEOUT", "VERSION"}
)


def check_caches(app_configs: Any = None, **_: Any) -> list[Any]:  # noqa: ARG001 - Django's
    """Return what is wrong with the caches that are ours."""
    ours = {alias: entry for alias, entry in settings.CACHES.items() if _is_ours(entry)}
    return [problem for alias, entry in ours.items() for problem in _of(alias, entry)]


def _is_ours(entry: Mapping[str, Any]) -> bool:
    from clustercache.django.cache import ClusterCache

    try:
        kind = import_string(entry["BACKEND"])
    except (ImportError, KeyError):
        return False  # Django says so where it is used
    return isinstance(kind, type) and issubclass(kind, ClusterCache)


def _of(alias: str, entry: Mapping[str, Any]) -> Iterable[Any]:
    try:
        inner = caches[alias].inner
    except ImproperlyConfigured as error:
        hint = f"Look at LOCATION and OPTIONS of CACHES[{alias!r}]."
        yield checks.Error(str(error), hint=hint, id="clustercache.E012")
        return
    unknown = sorted(entry.keys() - _KNOWN)
    if unknown:
        yield checks.Warning(
            f"CACHES[{alias!r}] has {', '.join(unknown)}, which nobody reads.",
            hint=f"Django reads {', '.join(sorted(_KNOWN))}; all else belongs into OPTIONS.",
            id="clustercache.W013",
        )
    if inner.client is None and not settings.DEBUG:
        yield checks.Warning(
            f"LOCATION of CACHES[{alias!r}] is {entry['LOCATION']!r}: no process sees what another"
            " has cached, or deleted.",
            hint="Name a server; this is for development and tests.",
            id="clustercache.W014",
        )
