"""Sessions written by the real older stores are read; whatever else is there gives None."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clustercache import Cluster
from clustercache._values.serializers import TaggedJSON
from clustercache.exceptions import ConfigurationError
from clustercache.localcluster import LocalCluster
from clustercache.sessions.migration import DjangoSessionReader, FlaskSessionReader
from clustercache.sessions.pickled import COMMON_CLASSES
from tests.sessions.older_stores import KEY, PLAIN, RICH

WRITER = Path(__file__).with_name("older_stores.py")
FLASK = PLAIN | {"at": RICH["at"], "_permanent": True}
TOKEN = "s3lect0rs3lect0r." + "v" * 22  # shaped as our own cookies are


@pytest.fixture(scope="module")
def alone():
    with LocalCluster.standalone() as made:
        yield made


def written_by(store, url):
    done = subprocess.run(
        [sys.executable, str(WRITER), store, url],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    return json.loads(done.stdout)


@pytest.mark.live
@pytest.mark.parametrize(
    ("store", "reader", "data"),
    [
        ("flask", FlaskSessionReader(), FLASK),
        ("flask", FlaskSessionReader(format="json"), FLASK),
        (
            "flask-json",
            FlaskSessionReader(format="json"),
            FLASK | {"at": "2026-01-02T03:04:05.000006Z"},
        ),
        ("flask-signed", FlaskSessionReader(secret_key=KEY), FLASK),
        ("django", DjangoSessionReader(allow=COMMON_CLASSES), RICH),
        ("django-redis", DjangoSessionReader(allow=COMMON_CLASSES), RICH),
        (
            "django-redis-zlib",
            DjangoSessionReader(allow=COMMON_CLASSES, compressed=True),
            RICH,
        ),
        ("django-redis-json", DjangoSessionReader(format="json"), PLAIN),
    ],
)
def test_a_session_of_the_older_store_is_found_and_read(alone, store, reader, data):
    with Cluster.from_url(alone.url) as client:
        client.flushall()
        found = written_by(store, alone.url)
        key = reader.key_of(found["cookie"])
        assert [key] == found["keys"]
        session = reader.decode(client.get(key))
    assert session == data
    assert TaggedJSON().loads(TaggedJSON().dumps(session)) == data


def test_a_database_session_of_django_is_read_where_its_signature_is_good():
    text = written_by("django-db", "redis://127.0.0.1:1")["signed"].encode()
    reader = DjangoSessionReader(format="signed", secret_key=KEY)
    assert reader.decode(text) == PLAIN | {"long": "x" * 500}
    assert DjangoSessionReader(format="signed", secret_key="other").decode(text) is None
    assert reader.decode(text[:-1]) is None


@pytest.mark.parametrize(
    ("reader", "cookie", "key"),
    [
        (FlaskSessionReader(), "A" * 43, "session:" + "A" * 43),
        (FlaskSessionReader(key_prefix="shop:"), "a-_" * 8, "shop:" + "a-_" * 8),
        (FlaskSessionReader(), TOKEN, None),
        (FlaskSessionReader(), "s:" + "A" * 43, None),
        (FlaskSessionReader(), "A" * 43 + "\n", None),
        (FlaskSessionReader(), "", None),
        (FlaskSessionReader(), "short", None),
        (FlaskSessionReader(), "A" * 300, None),
        (FlaskSessionReader(secret_key="k"), "A" * 43, None),
        (FlaskSessionReader(secret_key="k"), "A" * 43 + ".bad", None),
        (FlaskSessionReader(secret_key="k"), "\udc80.\udc80", None),
        (DjangoSessionReader(allow=()), "a1" * 16, ":1:django.contrib.sessions.cache" + "a1" * 16),
        (DjangoSessionReader(allow=(), key_prefix="p"), "0" * 32, "p" + "0" * 32),
        (DjangoSessionReader(allow=()), "A1" * 16, None),
        (DjangoSessionReader(allow=()), TOKEN, None),
        (DjangoSessionReader(allow=()), "a1" * 16 + "\n", None),
    ],
)
def test_only_a_cookie_of_the_older_store_has_a_key(reader, cookie, key):
    assert reader.key_of(cookie) == key


@pytest.mark.parametrize(
    "make",
    [
        DjangoSessionReader,
        lambda: DjangoSessionReader(format="yaml"),
        lambda: FlaskSessionReader(format="pickle"),
        lambda: DjangoSessionReader(allow=[("no.such.module", "Class")]),
        lambda: DjangoSessionReader(allow=[("datetime", "nothing")]),
    ],
)
def test_a_reader_that_cannot_work_is_refused_at_once(make):
    with pytest.raises(ConfigurationError, match=r"allow|format"):
        make()


@pytest.mark.parametrize(
    ("package", "make"),
    [
        ("msgspec", FlaskSessionReader),
        ("itsdangerous", lambda: FlaskSessionReader(format="json", secret_key="k")),
        ("django", lambda: DjangoSessionReader(format="signed")),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch, package, make):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "django.core", raising=False)
    with pytest.raises(ConfigurationError, match=rf"needs (?i:{package})"):
        make()


def test_json_sessions_need_no_msgspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert FlaskSessionReader(format="json").decode(b'{"a":1}') == {"a": 1}


@pytest.mark.parametrize("stored", [b"", b"5", b"[]", b'"a"', b"null", b"{", b"\xc1", b"[" * 9999])
def test_what_is_no_session_gives_none(stored):
    readers = [
        FlaskSessionReader(allow=()),
        FlaskSessionReader(format="json"),
        DjangoSessionReader(allow=()),
        DjangoSessionReader(allow=(), compressed=True),
        DjangoSessionReader(format="json"),
        DjangoSessionReader(format="msgpack"),
        DjangoSessionReader(format="signed", secret_key="k"),
    ]
    assert [reader.decode(stored) for reader in readers] == [None] * len(readers)


def test_keys_that_are_no_strings_drop_alone():
    reader = DjangoSessionReader(format="msgpack")
    assert reader.decode(b"\x82\x01\x02\xa1a\x03") == {"a": 3}
