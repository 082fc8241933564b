"""Functions and types that keys are made of and for."""

from __future__ import annotations

from enum import Enum, Flag, IntEnum, StrEnum
from typing import NamedTuple


def plain(a, b=2, *rest, c=3, **others):
    return a, b, rest, c, others


def positional(a, b=(), /, **others):
    return a, b, others


def keyword(*, a, b=None):
    return a, b


def call(*args, **kwargs):
    return args, kwargs


class Colour(Enum):
    RED = 1
    BLUE = 2


class Shade(Enum):
    RED = 1


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "ONE"


class Right(Flag):
    READ = 1
    WRITE = 2


class Record:
    def __init__(self, pk):
        self.pk = pk

    def __cache_key__(self):
        return self.pk

    def load(self, how=1):
        return self.pk, how

    @classmethod
    def make(cls, how=1):
        return cls(how)


class Special(Record):
    pass


class Constant:
    __cache_key__ = 5


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    a: int
    b: int


class Stranger:
    pass
