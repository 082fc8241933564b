"""Over a hundred thousand broken inputs: nothing but Undecodable, or None, comes of them."""

from __future__ import annotations

import pickle
import random
import zlib

import msgspec
import pytest

from clustercache._values.serializers import Msgspec, TaggedJSON
from clustercache.sessions.codec import Codec, Undecodable
from clustercache.sessions.keyring import KeyRing
from clustercache.sessions.migration import DjangoSessionReader, FlaskSessionReader
from clustercache.sessions.pickled import COMMON_CLASSES
from tests.sessions.older_stores import PLAIN, RICH

RING = KeyRing({"k1": bytes(32), "k2": bytes(32)})
tagged, packed = TaggedJSON(), msgspec.msgpack.encode(RICH | {"local": None})
VALUES = [RICH, PLAIN, list(range(50)), "text", {1: {2: {3: (None, frozenset({4}))}}}, 1 << 3000]
JSON = [tagged.dumps(value) for value in VALUES]
PICKLES = [pickle.dumps(data, protocol) for data in (PLAIN, RICH) for protocol in (2, 4, 5)]
COUNT = 20_000


def broken(random, corpus):
    """Return one of the corpus with a few changes, or noise."""
    if random.random() < 0.05:
        return random.randbytes(random.randrange(200))
    data = bytearray(random.choice(corpus))
    for _ in range(random.randint(1, 4)):
        at, kind = random.randrange(len(data) + 1), random.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at:at] = random.randbytes(random.randint(1, 4))
        elif kind == 2:
            del data[at : at + random.randint(1, 8)]
        elif kind == 3:
            data[at:at] = data[random.randrange(len(data) + 1) :][: random.randint(1, 30)]
        elif kind == 4:
            other = random.choice(corpus)
            data[at:] = other[random.randrange(len(other)) :]
        else:
            data[at:at] = random.choice([b"[", b"{", b'{"!', b"\xff", b'"', b"!dt", b"e999"]) * 3
    return bytes(data)


def reading(codec):
    def read(data):
        try:
            codec.decode(codec.unseal("selector", "name", data))
        except Undecodable:
            return None
        return data

    return read


def sealed(corpus):
    return [RING.seal("selector", "name", data) for data in corpus]


CASES = {
    "tagged": (reading(Codec(tagged)), JSON),
    "msgspec": (reading(Codec(Msgspec())), [packed]),
    "sealed": (reading(Codec(tagged, RING)), sealed(JSON)),
    "sealed msgspec": (reading(Codec(Msgspec(), RING)), sealed([packed])),
    "flask": (FlaskSessionReader(allow=()).decode, [packed, *JSON[:2], *PICKLES[:3]]),
    "django": (DjangoSessionReader(allow=COMMON_CLASSES).decode, PICKLES),
    "django, zlib": (
        DjangoSessionReader(allow=COMMON_CLASSES, compressed=True).decode,
        [*PICKLES, *map(zlib.compress, PICKLES)],
    ),
    "django, signed": (DjangoSessionReader(format="signed", secret_key="k").decode, JSON),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
def test_broken_input_is_refused_and_breaks_nothing(case):
    read, corpus = CASES[case]
    dice = random.Random(case)
    inputs = (broken(dice, corpus) for _ in range(COUNT))
    refused = [read(data) is None for data in inputs if data not in corpus]
    # A change inside a string is still a string, except where it is sealed or signed.
    whole = case.startswith("sealed") or case.endswith("signed")
    assert len(refused) > COUNT * 0.99
    assert all(refused) if whole else 0.5 < sum(refused) / len(refused) < 1
