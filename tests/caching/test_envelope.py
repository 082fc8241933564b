"""What goes into an envelope comes out of it; anything else is a miss, never an error."""

from __future__ import annotations

import random
import struct
import sys
import time
import tracemalloc
import zlib
from decimal import Decimal
from importlib import import_module
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._values.serializers import Msgspec, TaggedJSON
from clustercache._values.undecodable import Undecodable
from clustercache.caching import compression
from clustercache.caching.compression import Packing
from clustercache.caching.envelope import Envelopes
from clustercache.caching.signed_pickle import SignedPickle
from clustercache.exceptions import ConfigurationError

SERIALIZERS = [TaggedJSON(), Msgspec(), SignedPickle(b"k" * 32)]
TAGS = {"user:7": b"t" * 16, "": b"", "Zoë\udce4": b"\0"}
LONG = "clustercache " * 1000
zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

plain = Envelopes(TaggedJSON())


@pytest.fixture
def without_zstd(monkeypatch):
    monkeypatch.setattr(compression, "_zstd", lambda: None)


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("value", [None, True, 0, "x", {"a": [1, 2.5]}, LONG, 1 << 62])
@pytest.mark.parametrize("facts", [{}, {"fresh_until": 5, "cost": 7, "tags": TAGS}])
def test_value_and_facts_come_back(serializer, value, facts):
    envelopes = Envelopes(serializer)
    found = envelopes.open(envelopes.seal(value, **facts))
    back = envelopes.value(found)
    assert back == value
    assert type(back) is type(value)
    assert found[:3] == (facts.get("fresh_until"), facts.get("cost", 0), facts.get("tags", {}))


@given(
    st.none() | st.integers(1, 2**63),
    st.integers(0, 2**32 - 1),
    st.dictionaries(st.text(max_size=9), st.binary(max_size=255), max_size=4),
    st.text(),
)
def test_whatever_the_facts_are_they_come_back(until, cost, tags, value):
    found = plain.open(plain.seal(value, fresh_until=until, cost=cost, tags=tags))
    assert found[:3] == (until, cost, tags)
    assert plain.value(found) == value


@pytest.mark.parametrize("value", [0, 7, -1, 2**63 - 1, -(2**63)])
def test_an_integer_ends_in_digits_for_incr(value):
    stored = plain.seal(value)
    assert stored.endswith(str(value).encode().rjust(20))
    assert plain.value(plain.open(stored)) == value


@pytest.mark.parametrize(
    ("value", "facts"),
    [(True, {}), (2**63, {}), (1, {"cost": 1}), (1, {"fresh_until": 1}), (1, {"tags": TAGS})],
)
def test_any_other_value_has_an_envelope(value, facts):
    stored = plain.seal(value, **facts)
    assert stored.startswith(b"\xcc\x01")
    assert plain.value(plain.open(stored)) is value or value == 2**63


def test_facts_out_of_range_are_kept_as_near_as_can_be():
    found = plain.open(plain.seal("x", fresh_until=-5, cost=1 << 40))
    assert found.fresh_until == 1
    assert found.cost == 2**32 - 1


@pytest.mark.parametrize(
    "stored",
    [
        b"", b"x", b"-", b"-0", b"01", b"+1", b" 1", b"1 ", b"1\n", b"1.5", b"1" * 20, b"\xcc",
        b"\xcc\x02", b"\xcc\x01", plain.seal("x")[:20], plain.seal("x", tags=TAGS)[:-20],
        plain.seal("x", tags=TAGS)[:30], b"\x80\x04N.", b'"x"',
        plain.seal("x", tags={"ab": b""}).replace(b"ab", b"\xff\xff"),
    ],
)  # fmt: skip
def test_what_is_no_envelope_cannot_be_decoded(stored):
    with pytest.raises(Undecodable):
        plain.open(stored)


def test_another_schema_or_serializer_is_a_miss():
    stored = plain.seal("x")
    assert Envelopes(TaggedJSON(), schema=0).open(stored)
    for other in (Envelopes(TaggedJSON(), schema=1), Envelopes(Msgspec())):
        with pytest.raises(Undecodable, match="another serializer or schema"):
            other.open(stored)


class Broken:
    def __init__(self, error):
        self.error = error

    def dumps(self, value):
        return value

    def loads(self, _):
        raise self.error


@pytest.mark.parametrize(
    "error", [KeyError("secret"), RecursionError, MemoryError, Undecodable("y")]
)
def test_whatever_a_serializer_raises_is_undecodable_and_tells_nothing(error):
    envelopes = Envelopes(Broken(error))
    with pytest.raises(Undecodable) as caught:
        envelopes.value(envelopes.open(envelopes.seal(b"secret")))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_serializer_has_to_return_bytes():
    with pytest.raises(TypeError, match=r"Broken\.dumps\(\) has to return bytes"):
        Envelopes(Broken(None)).seal("text")


def test_large_values_are_compressed_by_zstd():
    stored = plain.seal(LONG)
    assert len(stored) < 200
    assert plain.open(stored).packing == Packing.ZSTD


def test_by_zlib_where_there_is_no_zstd_and_both_are_read_where_it_is(without_zstd, monkeypatch):
    stored = plain.seal(LONG)
    found = plain.open(stored)
    assert found.packing == Packing.ZLIB
    assert plain.value(found) == LONG
    monkeypatch.undo()
    assert plain.value(plain.open(stored)) == LONG


def test_what_zstd_wrote_is_a_miss_where_there_is_none(monkeypatch):
    found = plain.open(plain.seal(LONG))
    monkeypatch.setattr(compression, "_zstd", lambda: None)
    with pytest.raises(Undecodable, match="not known here"):
        plain.value(found)


def test_where_zstd_is_not_installed_there_is_none(monkeypatch):
    compression._zstd.cache_clear()
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert compression._zstd() is None
    compression._zstd.cache_clear()


@pytest.mark.parametrize(
    ("value", "above"),
    [("short", 1024), (LONG, None), (LONG, 1 << 20), (random.Random(1).randbytes(5000), 100)],
)
def test_what_is_small_or_does_not_shrink_stays_as_it_is(value, above):
    envelopes = Envelopes(SignedPickle(b"k" * 32), compress_above=above)
    assert envelopes.open(envelopes.seal(value)).packing == Packing.PLAIN


def bomb(packing, body):
    head = struct.pack(">2sBIIQIH", b"\xcc\x01", packing, crc32(b"TaggedJSON"), 0, 0, 0, 0)
    return head + body


def frame_of_128_mib_history():
    window = zstd.CompressionParameter.window_log
    options = {window: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    return packer.compress(b"x" * 100) + packer.flush()


@pytest.mark.parametrize(
    ("packing", "packed"),
    [
        (Packing.ZLIB, zlib.compress(bytes(200 << 20), 9)),
        (Packing.ZSTD, zstd.compress(bytes(200 << 20))),
        (Packing.ZSTD, frame_of_128_mib_history()),
    ],
    ids=["zlib", "zstd", "history"],
)
def test_a_bomb_is_a_miss_and_takes_no_memory(packing, packed):
    envelopes = Envelopes(TaggedJSON(), max_bytes=1 << 20)
    assert len(packed) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(Undecodable, match=r"larger than|broken"):
            envelopes.value(envelopes.open(bomb(packing, packed)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compressor", [zstd, zlib])
def test_exactly_as_much_as_may_be_is_read(compressor):
    packing = Packing.ZSTD if compressor is zstd else Packing.ZLIB
    packed = compressor.compress(b"x" * 1000)
    assert compression.decompress(packing, packed, 1000) == b"x" * 1000
    for broken, limit in ((packed, 999), (packed[:-1], 1000), (packed + b"x", 1000), (b"", 1000)):
        with pytest.raises(Undecodable):
            compression.decompress(packing, broken, limit)


def test_a_packing_of_the_future_is_a_miss():
    with pytest.raises(Undecodable, match="not known here"):
        compression.decompress(9, b"", 1)


@pytest.mark.parametrize(
    "wrong",
    [{"value": "x" * 99}, {"tags": {"x": bytes(256)}}, {"tags": {"x" * 65536: b""}},
     {"tags": dict.fromkeys(map(str, range(65536)), b"")}],
)  # fmt: skip
def test_what_has_no_room_is_not_written(wrong):
    with pytest.raises(ValueError, match=r"more than max_bytes|may have"):
        Envelopes(TaggedJSON(), max_bytes=50).seal(**{"value": "x"} | wrong)


@pytest.mark.parametrize(
    "options", [{"schema": -1}, {"schema": 2**32}, {"max_bytes": 0}, {"compress_above": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigurationError):
        Envelopes(TaggedJSON(), **options)


class Bare:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_a_signed_pickle_brings_any_object_back():
    signed = SignedPickle("a text of some length")
    value = {"x": Decimal("1.5"), "y": {1, (2,)}}
    assert signed.loads(signed.dumps(value)) == value


def test_only_what_a_key_has_signed_is_unpickled(capsys):
    old, new = SignedPickle(b"o" * 32), SignedPickle(b"n" * 32, fallbacks=[b"o" * 32])
    stored = old.dumps(Bare())
    for tampered in (
        b"", stored[:1], stored[:33], stored[1:], b"\x02" + stored[1:], stored + b".",
        stored[:-1] + b"\0", stored[33:], stored[:1] + bytes(32) + stored[33:],
        SignedPickle(b"x" * 32).dumps(Bare()),
    ):  # fmt: skip
        with pytest.raises(Undecodable, match="no key"):
            new.loads(tampered)
    assert capsys.readouterr().out == ""
    new.loads(stored)
    assert capsys.readouterr().out == "unpickled\n"
    with pytest.raises(Undecodable):
        old.loads(new.dumps(1))


def test_the_algorithm_and_protocol_are_pinned():
    stored = SignedPickle(b"k" * 32).dumps("x")
    assert stored[:1] == b"\x01"
    assert stored[33:35] == b"\x80\x05"
    assert stored[1:33].hex() == "ce05453f3038d2f8ed5663ff2f420f8878178fdce79423c8c2a4eb2200c5326f"


@pytest.mark.parametrize(
    "keys", [(b"short",), ("short",), (b"k" * 32, ["short"]), (b"k" * 32, b"k" * 32)]
)
def test_short_keys_are_refused(keys):
    with pytest.raises(ConfigurationError) as caught:
        SignedPickle(keys[0], fallbacks=keys[1] if len(keys) > 1 else ())
    assert "short" not in str(caught.value)
    assert "kkk" not in repr(SignedPickle(b"k" * 32))


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_twenty_thousand_broken_envelopes_are_misses(serializer):
    envelopes = Envelopes(serializer, compress_above=50)
    corpus = [
        envelopes.seal(value, fresh_until=9, cost=9, tags=TAGS)
        for value in (None, 1, {"a": [1, 2.5, "x"]}, LONG, list(range(50)))
    ] + [b"123", b"-5"]
    chance, refused, start = random.Random(3), 0, time.monotonic()
    for _ in range(20_000):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            if chance.random() < 0.5:
                data[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
            elif data:
                data[at % len(data)] ^= 1 << chance.randrange(8)
        try:
            envelopes.value(envelopes.open(bytes(data)))
        except Undecodable:
            refused += 1
    assert refused > 5_000
    assert time.monotonic() - start < 60
