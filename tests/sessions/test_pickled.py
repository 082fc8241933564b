"""A pickle from an older store runs nothing, changes nothing, and costs little."""

from __future__ import annotations

import pickle
import struct
import zlib

import pytest

from clustercache._values.undecodable import Undecodable
from clustercache.sessions.migration import DjangoSessionReader, FlaskSessionReader
from clustercache.sessions.pickled import COMMON_CLASSES, Pickles
from tests.sessions.older_stores import RICH

common = DjangoSessionReader(allow=COMMON_CLASSES)


class Basket:
    def __init__(self, items):
        self.items = items


BASKET = (Basket.__module__, "Basket")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_pickles_of_each_protocol_hold_is_read(protocol):
    data = {k: v for k, v in RICH.items() if protocol > 3 or k not in {"pair", "tags", "local"}}
    reader = DjangoSessionReader(
        allow=[*COMMON_CLASSES, ("_codecs", "encode"), ("builtins", "set")]
    )
    assert reader.decode(pickle.dumps(data, protocol)) == data


def test_without_classes_only_plain_data_is_read():
    reader = DjangoSessionReader(allow=())
    plain = {"a": [1, (2, {"b": {3}})], "c": b"d"}
    assert reader.decode(pickle.dumps(plain)) == plain
    assert reader.decode(pickle.dumps(RICH)) is None


def test_a_flask_session_from_before_msgpack_is_read_if_that_is_asked_for():
    stored = pickle.dumps({"_permanent": True, "user": "u1"})
    assert FlaskSessionReader(allow=()).decode(stored) == {"_permanent": True, "user": "u1"}
    assert FlaskSessionReader().decode(stored) is None


class Runs:
    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


def test_a_pickle_that_runs_something_does_not(tmp_path):
    bomb = Runs()
    bomb.path = str(tmp_path / "ran")
    assert common.decode(pickle.dumps({"a": bomb})) is None
    assert not (tmp_path / "ran").exists()


def test_a_class_is_read_only_by_its_own_full_name():
    reader = DjangoSessionReader(allow=[("datetime", "datetime")])
    for name in (b"datetime.now", b"timedelta", b"sys"):
        line = b"\x80\x04\x8c\x08datetime\x8c" + bytes([len(name)]) + name + b"\x93)R."
        assert reader.decode(line) is None


def test_an_instance_is_made_but_the_class_itself_is_not_changed():
    pickles = Pickles([BASKET])
    made = pickles.loads(pickle.dumps(Basket([1])))
    assert type(made).__qualname__ == "Basket"
    assert made.items == [1]
    name = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in BASKET)
    changing = b"\x80\x04" + name + b"\x93N}\x8c\x08__hash__Ns\x86b."
    memoized = b"\x80\x04" + name + b"\x93\x940h\x00N}\x8c\x08__hash__Ns\x86b."
    for attack in (changing, memoized):
        with pytest.raises(Undecodable, match="changes a class"):
            pickles.loads(attack)
        # What is refused would have worked.
        pickled_class = type(made)
        before = pickled_class.__dict__.get("__hash__")
        try:
            pickle.loads(attack)
            assert pickled_class.__hash__ is None
        finally:
            if before is None:
                del pickled_class.__hash__


def test_the_getattr_of_a_zone_finds_nothing_else():
    parts = (b"builtins", b"getattr"), (b"zoneinfo", b"ZoneInfo")
    (first, second) = (
        b"".join(b"\x8c" + bytes([len(p)]) + p for p in pair) + b"\x93" for pair in parts
    )
    reaching = b"\x80\x04" + first + second + b"\x8c\x09from_file\x86R."
    with pytest.raises(Undecodable, match="part of a class"):
        Pickles(COMMON_CLASSES).loads(reaching)
    with pytest.raises(KeyError):
        Pickles(()).loads(reaching)


HOSTILE = {
    "a memo of 64 GB": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "a put of 64 GB": b"\x80\x02Np2147483647\n.",
    "bytes of 1 TB": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "a string of 1 EB": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
    "tuples too deep to hash": b"\x80\x04})" + b"\x85" * 500_000 + b"Ns.",
    "tuples too shared to hash": b"\x80\x04})" + b"2\x86" * 60 + b"Ns.",
    "an extension": b"\x80\x02\x82\x01.",
    "an instance": b"(idatetime\ndatetime\n.",
    "a persistent id": b"Pid\n.",
    "a buffer": b"\x80\x05\x97.",
    "nothing on the stack": b"\x80\x04\x86.",
    "no mark": b"\x80\x04Nu.",
    "no end": b"\x80\x04N",
    "no such memo": b"\x80\x04h\x05.",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused_soon(attack):
    assert common.decode(attack) is None
    with pytest.raises((Undecodable, ValueError, IndexError, KeyError)):
        Pickles(COMMON_CLASSES).loads(attack)


@pytest.mark.timeout(20)
def test_lists_that_share_or_hold_each_other_are_refused_soon():
    top = level = []
    for _ in range(60):
        lower = []
        level += [lower, lower]
        level = lower
    circle = []
    circle.append(circle)
    for value in (top, circle):
        with pytest.raises(Undecodable):
            Pickles(()).loads(pickle.dumps({"a": value}))
    # Filled from above, after each was put into the one before: the play sees small lists only.
    filled = b"\x80\x04]\x94" + b"".join(
        b"h" + bytes([n]) + b"(]\x94h" + bytes([n + 1]) + b"e0" for n in range(60)
    )
    with pytest.raises(Undecodable, match="holds too much"):
        Pickles(()).loads(filled + b"h\x00.")


def test_a_long_list_is_no_deep_one():
    value = {"rows": [[n, (n,)] for n in range(5000)]}
    assert common.decode(pickle.dumps(value)) == value


def test_what_zlib_packed_is_opened_up_to_a_size():
    reader = DjangoSessionReader(allow=(), compressed=True)
    small = pickle.dumps({"a": 1})
    assert reader.decode(zlib.compress(small)) == {"a": 1}
    assert reader.decode(small) == {"a": 1}
    assert reader.decode(zlib.compress(small)[:-1]) is None
    assert reader.decode(zlib.compress(pickle.dumps({"a": bytes(1 << 25)}))) is None
    assert DjangoSessionReader(allow=()).decode(pickle.dumps({"a": bytes(1 << 20)})) is None
