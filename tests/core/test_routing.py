"""From a call to slots, and from the parts' replies back to one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.commands import find, resolve
from clustercache._core.routing import CrossSlot, by_key, merge, slot_of, split
from clustercache._core.slots import key_slot

MGET, MSET, DEL = find("MGET"), find("MSET"), find("DEL")


def plain(parts):
    """The parts without the command's name, which every part has first."""
    return [(slot, list(words[1:]), list(places)) for slot, words, places in parts]


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (("GET", "foo"), "foo"),
        (("SET", b"foo", "x"), "foo"),
        (("SINTER", "{a}1", "{a}2"), "a"),
        (("GET", 42), "42"),
        (("GET", ""), ""),
    ],
)
def test_a_call_goes_to_the_slot_of_its_keys(call, key):
    assert slot_of(*resolve(call)) == key_slot(key)


def test_a_call_without_keys_has_no_slot():
    assert slot_of(*resolve(("PING",))) is None


def test_keys_of_several_slots_are_refused_with_the_way_out():
    with pytest.raises(CrossSlot) as caught:
        slot_of(*resolve(("SINTER", "secret-a", "secret-b")))
    assert caught.value.slots == (key_slot("secret-a"), key_slot("secret-b"))
    assert "{hash tag}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_key_of_a_wrong_type_is_refused():
    with pytest.raises(TypeError):
        slot_of(*resolve(("GET", None)))


def test_a_call_splits_into_one_part_for_each_slot_in_order_of_appearance():
    a, b = key_slot("a"), key_slot("b")
    assert plain(split(MGET, ("MGET", "b", "{a}1", b"{a}2", "b"))) == [
        (b, ["b", "b"], [0, 3]),
        (a, ["{a}1", b"{a}2"], [1, 2]),
    ]


def test_values_travel_with_their_keys():
    assert [words for _, words, _ in plain(split(MSET, ("MSET", "a", 1, "b", 2, "a", 3)))] == [
        ["a", 1, "a", 3],
        ["b", 2],
    ]


def test_keys_that_are_numbers_are_split_by_their_spelling():
    assert [slot for slot, _, _ in split(DEL, ("DEL", 42))] == [key_slot("42")]


def test_a_part_splits_key_by_key_with_positions_of_its_own():
    [part] = split(MSET, ("MSET", "{a}1", "v1", "{a}2", "v2"))
    slot = key_slot("a")
    assert plain(by_key(MSET, part)) == [
        (slot, ["{a}1", "v1"], [0]),
        (slot, ["{a}2", "v2"], [1]),
    ]


KEYS = st.lists(st.sampled_from([f"k{n}" for n in range(20)]), min_size=1, max_size=40)


@given(KEYS)
def test_values_come_back_in_the_order_of_the_keys_duplicates_too(keys):
    parts = split(MGET, ("MGET", *keys))
    replies = [[f"v-{key}" for key in words[1:]] for _, words, _ in parts]
    assert merge(MGET, parts, replies) == [f"v-{key}" for key in keys]


@given(KEYS)
def test_a_part_asked_key_by_key_answers_as_the_part_would(keys):
    for part in split(MGET, ("MGET", *keys)):
        singles = by_key(MGET, part)
        replies = [[words[1]] for _, words, _ in singles]
        assert merge(MGET, singles, replies) == list(part[1][1:])


def test_counts_add_up():
    parts = split(DEL, ("DEL", "a", "b", "c"))
    assert merge(DEL, parts, [1] * len(parts)) == 3


def test_pairs_answer_ok_once():
    parts = split(MSET, ("MSET", "a", 1, "b", 2))
    assert merge(MSET, parts, [b"OK", b"OK"]) == b"OK"


def test_a_reply_of_the_wrong_length_is_never_given_to_other_keys():
    parts = split(MGET, ("MGET", "{a}1", "{a}2"))
    with pytest.raises(ValueError, match="zip"):
        merge(MGET, parts, [[b"only one"]])
