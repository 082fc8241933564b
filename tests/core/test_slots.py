"""Where a key lives: CRC16 of the key or of its hash tag, as the specification's examples say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.slots import SLOT_COUNT, encode, hash_tag, key_slot


def crc16(data):
    """The specification's reference implementation (appendix A), bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 0x31C3 % SLOT_COUNT),  # the specification's own check value
        (b"123456789", 12739),
        (b"foo", 12182),
        (b"bar", 5061),
        (b"hello", 866),
        (b"somekey", 11058),
        (b"foo{hash_tag}", 2515),
        (b"", 0),
    ],
)
def test_known_keys_have_the_slots_that_servers_give_them(key, slot):
    assert key_slot(key) == slot


@pytest.mark.parametrize(
    ("key", "tag"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),  # the first tag is empty: all of it counts
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"{}", b"{}"),
        (b"{", b"{"),
        (b"}{", b"}{"),
        (b"a}b{c}d", b"c"),
        (b"plain", b"plain"),
        (b"open{tag", b"open{tag"),
    ],
)
def test_the_first_hash_tag_counts_unless_it_is_empty(key, tag):
    assert hash_tag(key) == tag
    assert key_slot(key) == crc16(tag) % SLOT_COUNT


@given(st.binary(max_size=60))
def test_every_key_has_the_slot_of_the_reference_implementation(key):
    assert key_slot(key) == crc16(hash_tag(key)) % SLOT_COUNT


@given(st.text(max_size=30))
def test_a_str_key_lives_where_its_bytes_do(key):
    assert key_slot(key) == key_slot(key.encode())


class Text(str):
    __slots__ = ()


class Data(bytes):
    __slots__ = ()


class Number(int):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (b"\xff\x00", b"\xff\x00"),
        ("sch\u00f6n", "sch\u00f6n".encode()),
        (7, b"7"),
        (-7, b"-7"),
        (1.5, b"1.5"),
        (1e300, b"1e+300"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"xyz")[1:], b"yz"),
        (Text("t"), b"t"),
        (Data(b"d"), b"d"),
        (Number(3), b"3"),
    ],
)
def test_what_can_be_sent_has_one_spelling(value, sent):
    assert encode(value) == sent
    assert type(encode(value)) is bytes or isinstance(value, bytes)


def test_str_is_sent_in_the_codec_asked_for():
    assert encode("\u00f6", "latin-1") == b"\xf6"
    assert encode("\u20ac", "latin-1", "replace") == b"?"


@pytest.mark.parametrize("value", [None, True, False, [], {}, object(), 1j, ()])
def test_what_has_no_spelling_is_refused(value):
    with pytest.raises(TypeError, match="cannot be sent"):
        encode(value)


def test_a_refusal_names_the_type_and_not_the_value():
    with pytest.raises(TypeError) as caught:
        encode(["secret"])
    assert "list" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [str, str.encode, lambda text: memoryview(text.encode())])
def test_a_hash_tag_counts_in_keys_of_every_type(kind):
    assert key_slot(kind("{a}1")) == key_slot("a")
