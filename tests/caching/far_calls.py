"""Short ways to write a call about one key, and what it answers."""

from __future__ import annotations

from hashlib import sha1
from struct import pack

from clustercache.caching.calls import Call

ONE, TWO = b"1" * 16, b"\x00\xff" * 8
OLD, NEW = b"\xcc\x01old\x00\xff", b"\xcc\x01new"
PAST = b"1000000000000"
LARGEST = (1 << 63) - 1


class Near(int):
    """A number of milliseconds; what is less by the time that a test takes is equal to it."""

    def __eq__(self, other):
        return isinstance(other, int) and int(self) - 30_000 < other <= int(self)

    __hash__ = None


class Failing:
    """An error reply with this in it."""

    def __init__(self, words):
        self.words = words

    def __eq__(self, other):
        return isinstance(other, Exception) and self.words in str(other)

    __hash__ = None


class Leased:
    """A key with a lease of this token, before these bytes."""

    def __init__(self, token, rest=b""):
        self.token, self.rest = token, rest

    def __eq__(self, other):
        return (other[:18], other[31:]) == (b"\xccL" + self.token, self.rest) and (
            len(other) >= 31 and other[18:31].isdigit()
        )

    __hash__ = None

    def __repr__(self):
        return f"Leased({self.token!r}, {self.rest!r})"


def seen(data):
    return sha1(data).hexdigest()


def lease_over(token, rest=b""):
    return b"\xccL" + token + PAST + rest


def integer(value, token=ONE, *, tags=1, packing=3, width=20):
    head = pack(">2sBIIQIH", b"\xcc\x01", packing, 1, 2, 3, 4, tags)
    digits = value if isinstance(value, bytes) else b"%d" % value
    return head + (pack(">HB", 1, len(token)) + b"n" + token) * tags + digits.rjust(width)


def get():
    return Call("get", "k")


def put(data, ttl=None):
    return Call("set", "k", (data, ttl))


def unlink():
    return Call("unlink", "k")


def ttl():
    return Call("ttl", "k")


def take(token, lease=60_000, *, was="", force=0):
    return Call("take", "k", (token, lease, was, force))


def fill(token, data, lives=""):
    return Call("fill", "k", (token, data, lives))


def renew(token, lease=60_000):
    return Call("renew", "k", (token, lease))


def release(token):
    return Call("release", "k", (token,))


def swap(was, data, lives=""):
    return Call("swap", "k", (was, data, lives))


def token(fresh, lives=""):
    return Call("token", "k", (fresh, lives))


def incr(delta, of=ONE):
    return Call("incr", "k", (of, delta))
