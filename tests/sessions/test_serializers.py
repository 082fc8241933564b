"""What goes into a session comes out of it, and nothing else does."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from clustercache._values.serializers import Msgspec, TaggedJSON
from clustercache.exceptions import ConfigurationError
from clustercache.sessions.codec import Codec, Undecodable

tagged = TaggedJSON()
PARIS = ZoneInfo("Europe/Paris")


def same(one, other):
    """Tell whether two values are equal and of equal types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=False)
        return len(one) == len(other) and all(same(a, b) for a, b in pairs)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return tagged.dumps(one) == tagged.dumps(other)
    if isinstance(one, (datetime, time)):
        zones = [getattr(x.tzinfo, "key", x.tzinfo) for x in (one, other)]
        return one == other and one.fold == other.fold and zones[0] == zones[1]
    if isinstance(one, (float, Decimal)):
        return str(one) == str(other)
    return one == other


# Whole seconds: of an offset below one, Python's own fromisoformat() makes UTC.
offsets = st.integers(-86_000, 86_000).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.none() | st.timezones() | offsets
folds = st.sampled_from([0, 1])
# Years at the ends are left out: a zone's offset must not lead out of the calendar.
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold),
    st.datetimes().filter(lambda moment: 1 < moment.year < 9999),
    zones,
    folds,
)
times = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), zones, folds
)
text = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates, too
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers().map(lambda n: n << 3000)
    | st.floats()
    | st.decimals(allow_nan=False)
    | text
    | st.sampled_from(["!", "!d", "!dt", "!:money"])
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.timedeltas()
    | datetimes
    | times,
    lambda inner: (
        inner.flatmap(lambda v: st.just((v,)))
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
    ),
    max_leaves=5,
)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(text, inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=12,
)


@given(values)
def test_a_value_comes_back_equal_and_of_the_same_types(value):
    stored = tagged.dumps(value)
    back = tagged.loads(stored)
    assert same(back, value)
    assert tagged.dumps(back) == stored


@given(values)
def test_what_is_stored_is_standard_json(value):
    def never(constant):
        raise AssertionError(constant)

    json.loads(tagged.dumps(value).decode("utf-8", "surrogatepass"), parse_constant=never)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("Zoë", '"Zoë"'),
        (5, "5"),
        (True, "true"),
        (None, "null"),
        (-0.0, "-0.0"),
        ([1, {"a": None}], '[1,{"a":null}]'),
        ((1, "a"), '{"!t":[1,"a"]}'),
        ({3, 20, 1}, '{"!s":[1,20,3]}'),
        (frozenset("ba"), '{"!fs":["a","b"]}'),
        ({1: 2}, '{"!d":[[1,2]]}'),
        ({"!t": [1]}, '{"!d":[["!t",[1]]]}'),
        ({"!t": [1], "b": 2}, '{"!t":[1],"b":2}'),
        (b"\x00\xff", '{"!b":"AP8="}'),
        (date(2026, 2, 1), '{"!date":"2026-02-01"}'),
        (datetime(2026, 2, 1, 12, tzinfo=UTC), '{"!dt":"2026-02-01T12:00:00+00:00"}'),
        (
            datetime(2026, 10, 25, 2, 30, tzinfo=PARIS, fold=1),
            '{"!dt":["2026-10-25T02:30:00+01:00",1,"Europe/Paris"]}',
        ),
        (time(1, 2, fold=1), '{"!time":["01:02:00",1,null]}'),
        (timedelta(days=-1, microseconds=5), '{"!td":[-1,0,5]}'),
        (Decimal("1.50"), '{"!dec":"1.50"}'),
        (UUID(int=1), '{"!uuid":"00000000-0000-0000-0000-000000000001"}'),
        (math.inf, '{"!f":"inf"}'),
        (math.nan, '{"!f":"nan"}'),
        (1 << 2000, f'{{"!i":"{hex(1 << 2000)}"}}'),
    ],
)
def test_the_format_stays_as_it_is_for_sessions_outlive_releases(value, stored):
    assert tagged.dumps(value) == stored.encode()
    assert same(tagged.loads(stored.encode()), value)


def test_two_halves_of_a_character_stay_two():
    halves = "\ud83d\ude00"
    assert tagged.loads(tagged.dumps(halves)) == halves != "\U0001f600"


def test_an_integer_beyond_the_digits_that_python_converts_is_kept():
    value = -(7**10_000)
    assert len(tagged.dumps(value)) > 4300
    assert tagged.loads(tagged.dumps(value)) == value


def test_the_repeated_hour_and_the_next_day_are_those_of_the_zone():
    value = datetime(2026, 10, 25, 2, 30, tzinfo=PARIS, fold=1)
    back = tagged.loads(tagged.dumps(value))
    assert back == value
    assert back.tzinfo is PARIS
    assert (back - timedelta(days=1)).utcoffset() == timedelta(hours=2)


def test_a_zone_that_this_machine_does_not_know_leaves_the_offset():
    stored = b'{"!dt":["2026-10-25T02:30:00+01:00",0,"Europe/Atlantis"]}'
    assert tagged.loads(stored) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_of_a_time_zone_of_another_class_the_offset_is_kept():
    class Nepal(tzinfo):
        def utcoffset(self, moment):
            return timedelta(hours=5, minutes=45)

    value = datetime(2026, 1, 1, tzinfo=Nepal())
    back = tagged.loads(tagged.dumps(value))
    assert back == value
    assert type(back.tzinfo) is timezone


def test_decimals_are_written_alike_whatever_the_context():
    import decimal

    usual = tagged.dumps(Decimal("1E+10"))
    with decimal.localcontext(decimal.Context(capitals=0)):
        assert tagged.dumps(Decimal("1E+10")) == usual
    assert tagged.loads(tagged.dumps(Decimal("sNaN12"))).is_snan()


def test_a_set_is_written_alike_in_every_process():
    code = (
        "from clustercache._values.serializers import TaggedJSON;"
        "import sys; sys.stdout.buffer.write(TaggedJSON().dumps({'a','b','c',1,(2,),None}))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert outputs == {b'{"!s":["a","b","c",1,null,{"!t":[2]}]}'}


class Colour(enum.IntEnum):
    RED = 1


class Size(enum.StrEnum):
    LARGE = "l"


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return "LOUD"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped one is what users have


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Markup("<b>"), "<b>"),
        (Loud("quiet"), "quiet"),
        (Colour.RED, 1),
        (Size.LARGE, "l"),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (Point(1, 2), (1, 2)),
        ({Markup("k"): 1}, {"k": 1}),
        ({Markup("!t"): 1}, {"!t": 1}),
        ({Colour.RED: Size.LARGE}, {1: "l"}),
        ([type("Bytes", (bytes,), {})(b"x")], [b"x"]),
        ({type("Float", (float,), {})(1.5)}, {1.5}),
    ],
)
def test_a_subclass_comes_back_as_its_base(value, base):
    assert same(tagged.loads(tagged.dumps(value)), base)
    assert tagged.dumps(value) == tagged.dumps(base)  # or it would seem changed once it is read


def test_an_ordered_dict_keeps_its_order():
    value = OrderedDict(a=1, b=2)
    value.move_to_end("a")
    assert list(tagged.loads(tagged.dumps(value))) == ["b", "a"]


@pytest.mark.parametrize(
    "value", [object(), [1, {"a": object}], {object(): 1}, {"k": 1j}, enum.Enum("Plain", "A").A]
)
def test_any_other_type_is_refused_by_name_with_what_to_do(value):
    with pytest.raises(TypeError, match=r"cannot write a \S+\.\S+; .*register\("):
        tagged.dumps(value)


class Money:
    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency


def test_a_type_of_ones_own_is_written_under_its_tag_subclasses_included():
    own = TaggedJSON()
    own.register("money", Money, lambda m: (m.amount, m.currency), lambda told: Money(*told))
    price = type("Price", (Money,), {})(Decimal("9.90"), "EUR")
    stored = own.dumps({"price": price})
    assert stored == b'{"price":{"!:money":{"!t":[{"!dec":"9.90"},"EUR"]}}}'
    back = own.loads(stored)["price"]
    assert type(back) is Money
    assert (back.amount, back.currency) == (Decimal("9.90"), "EUR")
    with pytest.raises(Undecodable, match="tag that is not registered"):
        tagged.loads(stored)
    with pytest.raises(TypeError, match="Price"):
        tagged.dumps(price)


def test_a_subclass_that_is_registered_is_not_written_as_its_base():
    own = TaggedJSON()
    own.register("loud", Loud, lambda v: v[:], Loud)
    # A slice of a str subclass is a plain str, so this ends.
    assert type(own.loads(own.dumps(Loud("x")))) is Loud
    assert own.dumps("x") == b'"x"'


def test_a_tag_or_a_type_is_registered_once():
    own = TaggedJSON()
    own.register("money", Money, vars, lambda told: Money(**told))
    for tag, kind, message in [
        ("money", object, "tag 'money'"),
        ("", object, "tag ''"),
        ("coin", Money, "Money is"),
        ("text", str, "str is"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            own.register(tag, kind, str, str)


def nested(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_the_depth_is_bounded_alike_when_written_and_when_read():
    assert tagged.loads(tagged.dumps(nested(100))) == nested(100)
    with pytest.raises(ValueError, match="deeper than 100"):
        tagged.dumps(nested(101))
    with pytest.raises(Undecodable, match="deeper than 100"):
        tagged.loads(b"[" * 101 + b"]" * 101)
    for huge in (b"[" * 1_000_000, b'{"a":' * 1_000_000):
        with pytest.raises(Undecodable, match="deeper than 100"):
            tagged.loads(huge)


def test_what_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        tagged.dumps(value)


def test_brackets_in_text_and_siblings_are_not_depth():
    value = {"text": '[{"\\' * 1000, "rows": [[{}] for _ in range(1000)]}
    assert tagged.loads(tagged.dumps(value)) == value


@pytest.mark.timeout(5)
def test_looking_at_the_depth_takes_linear_time():
    hostile = b"[" * 101 + b"]" * 101 + b'"' + b'\\"' * 500_000 + b"\\"
    with pytest.raises(Undecodable):
        tagged.loads(hostile)
    with pytest.raises(json.JSONDecodeError):
        tagged.loads(b"[]" * 200 + hostile[202:])


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"nope",
        b"[1",
        b"NaN",
        b"-Infinity",
        b"\xff",
        b"1" * 5000,
        b'{"!nope":1}',
        b'{"!dt":5}',
        b'{"!dt":["2026-01-01T00:00:00",2,null]}',
        b'{"!dt":["2026-01-01T00:00:00",0,"../../etc/passwd"]}',
        b'{"!dt":["2026-01-01T00:00:00",0,["a"]]}',
        b'{"!b":"no base64"}',
        b'{"!uuid":1}',
        b'{"!dec":"one"}',
        b'{"!td":[1e300]}',
        b'{"!s":[[]]}',
        b'{"!d":[1]}',
        b'{"!i":"0xz"}',
    ],
)
def test_what_was_never_written_is_undecodable_and_stays_out_of_the_error(stored):
    with pytest.raises(Undecodable) as caught:
        Codec(tagged).decode(stored)
    assert caught.value.__cause__ is caught.value.__context__ is None
    for secret in ("nope", "passwd", "base64", "0xz", "2026"):
        assert secret not in str(caught.value)


def test_msgspec_writes_messagepack_alike_for_equal_sets():
    packed = Msgspec()
    value = {"b": [1, 2.5, None], "a": "x", "s": {3, 1, 2}}
    assert packed.loads(packed.dumps(value)) == {"a": "x", "b": [1, 2.5, None], "s": [1, 2, 3]}
    assert packed.dumps({"a", "b"}) == packed.dumps({"b", "a"}) == b"\x92\xa1a\xa1b"
    for refused, error in [({1: 2}, TypeError), (object(), TypeError), (1 << 70, OverflowError)]:
        with pytest.raises(error):
            packed.dumps(refused)
    with pytest.raises(Undecodable, match="Msgspec cannot read it: DecodeError"):
        Codec(packed).decode(b"\xc1")


def test_without_its_package_msgspec_says_which_extra_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'clustercache\[msgspec\]'"):
        Msgspec()
