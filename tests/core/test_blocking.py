"""How long a blocking call waits: at the server, and here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.blocking import FOREVER, LEAST, SLACK, Wait, wait_of
from clustercache._core.commands import resolve


def wait(*args):
    return wait_of(*resolve(args))


@pytest.mark.parametrize(
    ("args", "seconds"),
    [
        (("BLPOP", "a", "b", 5), 5.0),
        (("BLPOP", "a", "0.5"), 0.5),
        (("BRPOP", "a", b"0"), 0.0),
        (("BZPOPMIN", "a", bytearray(b"2")), 2.0),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 1.5), 1.5),
        (("BLMPOP", 3, 1, "a", "LEFT"), 3.0),
        (("XREAD", "BLOCK", 250, "STREAMS", "s", "$"), 0.25),
        (("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"), 0.0),
        (("BLPOP", "a", "soon"), None),
        (("BLPOP", "a", -1), None),
        (("BLPOP", "a", "inf"), None),
        (("BLPOP", "a", "nan"), None),
        (("BLPOP", "a", None), None),
        (("BLPOP", "a", 10**400), None),
    ],
)
def test_the_servers_timeout_is_read_in_seconds(args, seconds):
    assert wait(*args).seconds == seconds


def test_a_call_that_cannot_block_has_none():
    assert wait("GET", "a") is None
    assert wait("XREAD", "STREAMS", "s", "0") is None


def test_the_deadline_is_the_servers_timeout_and_some_slack():
    assert wait("BLPOP", "a", 5).limit(None, 10.0) == 5 + SLACK
    assert wait("BLPOP", "a", 0).limit(None, 10.0) == FOREVER


def test_a_deadline_that_was_asked_for_is_the_deadline():
    assert wait("BLPOP", "a", 5).limit(0.2, 10.0) == 0.2
    assert wait("BLPOP", "a", 0).limit(0.2, 10.0) == 0.2


def test_what_is_no_timeout_has_the_usual_deadline_and_is_sent_as_it_is():
    nothing = wait("BLPOP", "a", "soon")
    assert nothing.limit(None, 10.0) == 10.0
    assert nothing.left(0.0, 10.0) is None


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_timeout_that_fits_is_sent_as_it_was_given(seconds):
    given = wait("BLPOP", "a", seconds)
    assert given.left(0.001, given.limit(None, 10.0)) is None
    assert given.apply(("BLPOP", "a", seconds), None) == ("BLPOP", "a", seconds)


def test_a_call_sent_again_asks_for_what_is_left():
    given = wait("BLPOP", "a", 5)
    assert given.left(3.0, 15.0) == pytest.approx(2.0)
    assert given.left(9.0, 15.0) == LEAST
    assert wait("BLPOP", "a", 0).left(1e6, FOREVER) is None


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_nearer_deadline_shortens_it(seconds):
    told = [wait("BLPOP", "a", seconds).left(0.0, limit) for limit in (20.0, 2.0, 1.0, 0.1)]
    assert told == [pytest.approx(short) for short in (19.7, 1.8, 0.85, 0.05)]
    assert wait("BLPOP", "a", seconds).left(0.999, 1.0) == LEAST


def test_it_is_written_in_the_commands_unit():
    assert wait("BLPOP", "a", 5).apply(("BLPOP", "a", 5), 0.25) == ("BLPOP", "a", "0.250")
    words = ("XREAD", "BLOCK", 900, "STREAMS", "s", "$")
    assert wait(*words).apply(words, 0.25) == ("XREAD", "BLOCK", "250", "STREAMS", "s", "$")


@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0.001, 1e6) | st.none(),
    st.sampled_from([1.0, 0.001]),
)
def test_the_server_gives_up_before_the_caller_does(seconds, waited, explicit, unit):
    given = Wait(1, unit, seconds)
    limit = given.limit(explicit, 10.0)
    told = given.left(waited, limit)
    if told is None:
        assert limit == FOREVER or waited + seconds < limit + LEAST
    else:
        assert told >= LEAST
        assert told == LEAST or waited + told < limit
        (_, text) = given.apply(("X", "0"), told)
        assert 0 < float(text) * unit <= told + 0.001
