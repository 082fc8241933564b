"""What stands for an argument, a function or a whole call is for the user to say."""

from __future__ import annotations

import functools
import re
from datetime import date
from uuid import UUID

import pytest

from clustercache.caching.encoding import Encoder
from clustercache.caching.keys import Keys
from clustercache.exceptions import ConfigurationError
from tests.caching.examples import (
    Colour,
    Record,
    Right,
    Special,
    Stranger,
    Text,
    call,
    keyword,
    plain,
)

keys = Keys(plain)


class Money:
    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency


def test_a_registered_type_counts_by_what_it_is_encoded_as():
    encoder = Encoder()
    encoder.register(Money, lambda money: (money.amount, money.currency))
    named = Keys(plain, encoder=encoder)
    assert named.near(Money(1, "EUR")) == named.near(Money(1, "EUR"))
    assert (
        len({named.near(Money(1, "EUR")), named.near((1, "EUR")), named.near(Money(1, "USD"))}) == 3
    )
    with pytest.raises(TypeError, match=r"argument 'a' of .*subclass of Money"):
        named.near(type("Coin", (Money,), {})(1, "EUR"))
    with pytest.raises(TypeError, match="argument 'a'"):
        keys.near(Money(1, "EUR"))  # only there


def test_a_name_lets_a_registered_type_move():
    def encoded(kind):
        encoder = Encoder()
        encoder.register(kind, lambda _: 1, name="money")
        return encoder.encode(kind.__new__(kind))

    assert encoded(Money) == encoded(Stranger)


def test_a_type_can_be_registered_once_and_needs_a_name():
    encoder = Encoder()
    with pytest.raises(ConfigurationError, match="str is registered already"):
        encoder.register(str, str)
    with pytest.raises(ConfigurationError, match="register it with a name="):
        encoder.register(type("f.<locals>.C", (), {}), str)


def test_a_method_counts_self_by_its_cache_key():
    load = Keys(Record.load)
    assert load.near(Record(1)) == load.near(Record(1), how=1)
    assert len({load.near(Record(1)), load.near(Record(2)), load.near(Special(1))}) == 3
    with pytest.raises(
        TypeError, match=r"argument 'self' of .*__cache_key__ .*ignore=\(\"self\",\)"
    ):
        Keys(Stranger.__init__, name="init").near(Stranger())
    assert Keys(Record.load, ignore=("self",)).near(Stranger()) is not None


def test_a_classmethod_counts_its_class():
    make = Keys(Record.__dict__["make"].__func__)
    assert make.near(Record) == make.near(Record, 1)
    assert make.near(Record) != make.near(Special)


def test_what_is_ignored_does_not_count():
    ignoring = Keys(plain, ignore=("b", "trace"))
    assert ignoring.near(1, 2) == ignoring.near(1, Stranger(), trace=Stranger())
    assert ignoring.near(1, 2) != ignoring.near(1, 2, x=1)
    assert ignoring.near(1) != keys.near(1)
    without_stars = Keys(plain, ignore=("rest", "others"))
    assert without_stars.near(1) == without_stars.near(1, 2, 3, x=4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ignore": ("d",)}, "ignore= names 'd'"),
        ({"ignore": "ab"}, "write ignore="),
        ({"ignore": ("a",), "key": "x:{a}"}, "nothing for ignore="),
        ({"key": "x"}, "no field"),
        ({"key": "x:{}"}, "no field"),
        ({"key": "x:{c}"}, "no parameter"),
        ({"key": "x:{a}{b}"}, "part its fields"),
        ({"key": "x:{a}_{b}"}, "part its fields"),
        ({"key": "x:{a"}, "no template"),
        ({"key": "x:{a:{b}}"}, "no field"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, told):
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Keys(keyword, **options)


def closure(n):
    def inner(a):
        return a + n

    return inner


def nested():
    def inner(a):
        return a

    return inner


class Base:
    def load(self):
        raise NotImplementedError


class Derived(Base):
    def load(self):
        return super().load()


@pytest.mark.parametrize(
    "function",
    [
        lambda a: a,
        closure(1),
        functools.partial(plain, 1),
        Record(1).load,
        Record.make,
        Money(1, 2),
    ],
)
def test_a_function_whose_name_others_share_needs_one_of_its_own(function):
    with pytest.raises(ConfigurationError, match="needs a name="):
        Keys(function)


@pytest.mark.parametrize(
    "function", [plain, nested(), Derived.load, functools.lru_cache(plain), sum]
)
def test_a_function_of_its_own_name_needs_no_other(function):
    assert Keys(function).name == f"{function.__module__}.{function.__qualname__}"


def test_a_wrapper_has_the_signature_of_what_it_wraps():
    @functools.wraps(plain)
    def wrapper(*args, **kwargs):
        return plain(*args, **kwargs)

    assert Keys(wrapper).near(1) == keys.near(a=1, b=2)


class Unseen:
    __signature__ = "none"

    def __call__(self):
        raise NotImplementedError


def test_what_has_no_signature_says_so():
    with pytest.raises(ConfigurationError, match="x has no signature"):
        Keys(Unseen(), name="x")
    assert Keys(Unseen(), name="x", key=lambda: 1)() is not None


def one(a, b=2):
    return a, b


def reordered(b, a=2):
    return a, b


def test_name_version_and_parameters_are_part_of_the_key():
    fars = [
        Keys(one)(1),
        Keys(one, name="other")(1),
        Keys(one, version=1)(1),
        Keys(one, version="1")(1),
        Keys(one, version=2)(1),
        Keys(one, name="same")(1, 2),
        Keys(reordered, name="same")(1, 2),
        Keys(one, name="same", ignore=("b",))(1, 2),
        Keys(one, name="same", key=lambda a: a)(1),
        Keys(one, name="same", key=lambda a: (a,))(1),
    ]
    assert len(set(fars)) == len(fars)
    nears = [Keys(one, version=version).near(1) for version in (None, 1, 2)]
    assert len(set(nears)) == 3  # so that functions can share a near cache


def test_a_far_key_is_the_name_and_a_short_digest():
    far = Keys(one, name="shop.product")(1)
    assert re.fullmatch(r"shop\.product:[A-Za-z0-9_-]{27}", far)


def test_key_says_what_counts_of_the_arguments():
    chosen = Keys(lambda user, how=1: 0, name="f", key=lambda user, **_: user.pk)
    assert chosen.near(Record(1)) == chosen.near(Special(1), how=5)
    assert chosen.near(Record(1)) != chosen.near(Record("1"))
    with pytest.raises(TypeError, match=r"what key= returned gives no cache key: .*Stranger"):
        chosen.near(Record(Stranger()))


@pytest.mark.parametrize(
    ("template", "given", "far"),
    [
        ("product:{a}", call(5), "product:5"),
        ("product:{a}", call(a="5"), "product:5"),
        ("{a}:{b}", call("1:2", 3), "1%3A2:3"),
        ("{a}:{b}", call(1, "2:3"), "1:2%3A3"),
        ("{a}:{b}", call("x{y}", "100%"), "x%7By%7D:100%25"),
        ("{a}—{b}", call("—", 1), "%E2%80%94—1"),
        ("{a}:{b}", call("a@b.c", "-"), "a@b.c:-"),
        ("{a}-{b}", call(-1, 2), "%2D1-2"),
        ("cart:{{{a}}}", call("u1"), "cart:{u1}"),
        ("{a.pk}", call(Record(7)), "7"),
        ("{a[x]:04d}", call({"x": 7}), "0007"),
        ("{a!r}", call("x"), "'x'"),
        ("{a}/{c}", call(None), "None/3"),
        ("{a}", call(Colour.RED), "RED"),
        ("{a}", call(Right.WRITE), "2"),
        ("{a}", call(date(2026, 1, 2)), "2026-01-02"),
        ("{a}", call(UUID(int=1)), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_template_is_the_whole_key(template, given, far):
    args, kwargs = given
    templated = Keys(plain, key=template)
    assert templated(*args, **kwargs) == far
    assert templated.near(*args, **kwargs) == (far,)


def test_a_template_needs_no_name_and_has_the_version_behind():
    assert Keys(lambda a: a, key="x:{a}", version=2)(1) == "x:1@2"
    assert Keys(lambda a: a, key="x:{a}", version="{")(1) == "x:1@{"
    assert Keys(lambda a: a, key="x:{a}", version=2)("1@2") == "x:1%402@2"


@pytest.mark.parametrize("value", [Stranger(), 1.5, Text("x"), b"x", [1]])
def test_a_template_takes_what_has_one_text(value):
    with pytest.raises(TypeError, match=r"\{a\} is a "):
        Keys(plain, key="x:{a}")(value)
