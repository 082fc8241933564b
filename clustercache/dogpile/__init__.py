"""A backend for dogpile.cache: a region's values, and its locks, in a cluster.

    region = make_region().configure(
        "clustercache",
        expiration_time=60,
        arguments={"url": "redis://10.0.0.1:6379", "signing_key": SECRET},
    )

An installed clustercache is found by that name; else `import clustercache.dogpile` makes it known.
See docs/adapters.md.
"""

from __future__ import annotations

from dogpile.cache import register_backend

from clustercache.dogpile.backend import ClusterCacheBackend
from clustercache.dogpile.mutex import Mutex

__all__ = ["ClusterCacheBackend", "Mutex"]

register_backend("clustercache", __name__, "ClusterCacheBackend")  # type: ignore[no-untyped-call]
