"""Write real sessions with another store; run as a program, for Django has one setup a process.

python older_stores.py NAME URL  ->  {"cookie": ..., "keys": [...]}, or {"signed": ...}
"""

from __future__ import annotations

import json
import sys
import uuid
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

PLAIN = {"user": "u1", "cart": [1, 2.5, {"sku": "é"}], "ok": True, "none": None}
RICH = {
    **PLAIN,
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "local": datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
    "price": Decimal("9.90"),
    "id": uuid.UUID(int=7),
    "tags": {"a", "b"},
    "pair": (1, (2, b"\x00")),
    "days": datetime(2026, 1, 2, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC),
}
KEY = "not a secret, for it signs nothing but tests"


def flask(url, *, signed=False, layout="msgpack"):
    import redis
    from flask import Flask, session
    from flask_session import Session

    app = Flask("older")
    client = redis.Redis.from_url(url)
    app.config.update(
        SECRET_KEY=KEY,
        SESSION_TYPE="redis",
        SESSION_REDIS=client,
        SESSION_USE_SIGNER=signed,
        SESSION_SERIALIZATION_FORMAT=layout,
    )
    warnings.simplefilter("ignore", DeprecationWarning)
    Session(app)

    @app.get("/")
    def index():
        session.update(PLAIN, at=RICH["at"])
        return ""

    answer = app.test_client().get("/")
    cookie = answer.headers["Set-Cookie"].split(";")[0].partition("=")[2]
    return {"cookie": cookie, "keys": [key.decode() for key in client.scan_iter()]}


def django(url, backend, data, engine="cache", **options):
    import redis
    from django import setup
    from django.conf import settings

    cache = {"BACKEND": backend, "LOCATION": url, "OPTIONS": options}
    settings.configure(
        SECRET_KEY=KEY,
        CACHES={"default": cache},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.sessions"],
        USE_TZ=True,
    )
    setup()
    if engine == "db":
        from django.contrib.sessions.backends.db import SessionStore

        return {"signed": SessionStore().encode(data)}
    from django.contrib.sessions.backends.cache import SessionStore

    store = SessionStore()
    store.update(data)
    store.create()
    keys = [key.decode() for key in redis.Redis.from_url(url).scan_iter()]
    return {"cookie": store.session_key, "keys": keys}


OWN, OTHER = "django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"
ZLIB = {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"}
JSON = {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}
STORES = {
    "flask": flask,
    "flask-json": lambda url: flask(url, layout="json"),
    "flask-signed": lambda url: flask(url, signed=True),
    "django": lambda url: django(url, OWN, RICH),
    "django-redis": lambda url: django(url, OTHER, RICH),
    "django-redis-zlib": lambda url: django(url, OTHER, RICH, **ZLIB),
    "django-redis-json": lambda url: django(url, OTHER, PLAIN, **JSON),
    "django-db": lambda url: django(url, OWN, PLAIN | {"long": "x" * 500}, engine="db"),
}

if __name__ == "__main__":
    print(json.dumps(STORES[sys.argv[1]](sys.argv[2])))  # noqa: T201 - its answer
