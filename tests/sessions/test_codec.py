"""Fields are sealed to where they belong, by keys that can be replaced."""

from __future__ import annotations

import secrets
import sys
from itertools import combinations

import pytest

from clustercache._values.serializers import TaggedJSON
from clustercache.exceptions import ConfigurationError
from clustercache.sessions.codec import Codec, Undecodable
from clustercache.sessions.keyring import KeyRing

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def codec(keys=None, **options):
    return Codec(TaggedJSON(), KeyRing(keys, **options) if keys else None)


def test_without_keys_what_is_stored_is_what_the_serializer_wrote():
    plain = codec()
    assert plain.seal("sel", "cart", plain.encode([1])) == b"[1]"
    assert plain.decode(plain.unseal("sel", "cart", b"[1]")) == [1]


def test_with_keys_a_field_is_encrypted_anew_each_time():
    sealing = codec({"2026-01": OLD})
    plain = sealing.encode("hunter2")
    stored = [sealing.seal("sel", "password", plain) for _ in range(50)]
    assert len(set(stored)) == 50
    assert len({one[10:22] for one in stored}) == 50
    for one in stored:
        assert b"hunter2" not in one
        assert sealing.unseal("sel", "password", one) == plain


def test_the_envelope_stays_as_it_is_for_sessions_outlive_releases():
    ring = KeyRing({"k1": bytes(range(32))}, entropy=lambda size: b"n" * size)
    stored = ring.seal("selector", "name", b"value")
    assert stored[:5] == b"\xc1\x01\x02k1"
    assert stored[5:17] == b"n" * 12
    assert stored[17:].hex() == "d13a7b1cd01219301412ba15d5bf55e3d44bca45e4"
    assert ring.unseal("selector", "name", stored) == b"value"


def test_a_field_opens_only_in_its_session_and_under_its_name():
    ring = KeyRing({"k": OLD})
    places = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("ab", "\ud800"), ("ab", "cc")]
    sealed = {place: ring.seal(*place, b"value") for place in places}
    for one, other in combinations(places, 2):
        with pytest.raises(Undecodable, match="belongs to another"):
            ring.unseal(*one, sealed[other])
    assert all(ring.unseal(*place, stored) == b"value" for place, stored in sealed.items())


def test_every_byte_of_the_envelope_counts():
    ring = KeyRing({"k1": OLD, "k2": OLD})
    stored = ring.seal("sel", "name", b"value")
    for index in range(len(stored)):
        changed = bytearray(stored)
        changed[index] ^= 3  # turns k1 into k2, too
        with pytest.raises(Undecodable):
            ring.unseal("sel", "name", bytes(changed))
        with pytest.raises(Undecodable):
            ring.unseal("sel", "name", stored[:index])
    with pytest.raises(Undecodable):
        ring.unseal("sel", "name", stored + b"x")


def test_old_keys_are_read_and_the_active_one_writes():
    before = codec({"old": OLD})
    during = codec({"old": OLD, "new": NEW})
    prepared = codec({"old": OLD, "new": NEW}, active="old")
    after = codec({"new": NEW})
    written = {c: c.seal("s", "n", b"1") for c in (before, during, prepared, after)}
    for reader, writers in [
        (before, {before, prepared}),
        (during, {before, during, prepared, after}),
        (prepared, {before, during, prepared, after}),
        (after, {during, after}),
    ]:
        for writer, stored in written.items():
            if writer in writers:
                assert reader.unseal("s", "n", stored) == b"1"
            else:
                with pytest.raises(Undecodable, match="key that it was encrypted with"):
                    reader.unseal("s", "n", stored)


def test_what_is_not_encrypted_is_refused_unless_it_is_asked_for():
    with pytest.raises(Undecodable, match="accept_plain=True"):
        codec({"k": OLD}).unseal("s", "n", b"[1]")
    migrating = codec({"k": OLD}, accept_plain=True)
    assert migrating.unseal("s", "n", b"[1]") == b"[1]"
    with pytest.raises(Undecodable):
        migrating.unseal("s", "n", codec({"k": NEW}).seal("s", "n", b"[1]"))


def test_what_is_encrypted_is_not_read_without_keys():
    stored = codec({"k": OLD}).seal("s", "n", b"[1]")
    with pytest.raises(Undecodable):
        codec().decode(codec().unseal("s", "n", stored))


@pytest.mark.parametrize(
    ("keys", "active", "message"),
    [
        ({}, None, "needs a key"),
        ({"k": b"short"}, None, "'k' has to be 32 bytes"),
        ({"k": "s" * 32}, None, "'k' has to be 32 bytes"),
        ({"k": bytes(33)}, None, "'k' has to be 32 bytes"),
        ({"": bytes(32)}, None, "1 to 255 bytes"),
        ({"é" * 128: bytes(32)}, None, "1 to 255 bytes"),
        ({1: bytes(32)}, None, "1 to 255 bytes"),
        ({"k": bytes(32)}, "other", "'other' is not in the key ring"),
    ],
)
def test_a_key_ring_that_cannot_work_is_refused_at_once(keys, active, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        KeyRing(keys, active=active)
    assert "short" not in str(caught.value)
    assert "sss" not in str(caught.value)


def test_a_key_ring_shows_its_ids_and_no_key():
    ring = KeyRing({"2026-01": OLD, "2026-06": NEW})
    assert repr(ring) == "KeyRing(['2026-01', '2026-06'], active='2026-06')"
    assert not hasattr(ring, "__dict__")
    for name in KeyRing.__slots__:
        assert OLD not in repr(getattr(ring, name)).encode()
        assert str(OLD) not in repr(getattr(ring, name))


def test_without_its_package_a_key_ring_says_which_extra_brings_it(monkeypatch):
    module = "cryptography.hazmat.primitives.ciphers.aead"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'clustercache\[crypto\]'"):
        KeyRing({"k": OLD})


def test_a_serializer_that_does_not_write_bytes_is_named():
    class Text:
        def dumps(self, value):
            return str(value)

        def loads(self, data):
            raise KeyError(data)

    with pytest.raises(TypeError, match=r"Text\.dumps\(\) has to return bytes"):
        Codec(Text()).encode(1)
    with pytest.raises(Undecodable, match="Text cannot read it: KeyError"):
        Codec(Text()).decode(b"1")
