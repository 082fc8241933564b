"""From a call to slots: where it goes, how it splits, how the parts' replies become one.

Source: Redis Cluster specification, "Multiple keys operations": the keys of one command must share
a slot. The commands that are only a loop over their keys are split here, one part per slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from clustercache._core.commands import Split, keys_of
from clustercache._core.slots import encode, key_slot, key_slots

if TYPE_CHECKING:
    from clustercache._core.commands import CommandSpec


class CrossSlot(ValueError):  # noqa: N818 - the shells raise CrossSlotError from it
    """The keys of a command that cannot be split live in `slots`."""

    def __init__(self, slots: Sequence[int]) -> None:
        self.slots = tuple(slots)
        super().__init__(
            f"the keys live in slots {', '.join(map(str, self.slots[:4]))}: this command needs "
            "them in one slot; give them a common {hash tag}, as in {user:7}:name, {user:7}:cart"
        )


Part = tuple[int, tuple[Any, ...], Sequence[int]]
"""One slot's share of a call: the slot, the words for the wire, and which of the call's keys (or
pairs) these are. A plain tuple, for a call of 100 keys makes 100 of them."""


_ALONE = tuple((place,) for place in range(1024))
"""The places of keys that are alone in their slots: made once, not for each call."""


def slot_of(spec: CommandSpec, args: Sequence[Any], *, together: bool = False) -> int | None:
    """Return the one slot of a call's keys, or None where it has no key.

    Args:
        spec: The command.
        args: Its name and arguments.
        together: Whether one node has all slots, so that the first one stands for them all.

    Raises:
        CrossSlot: The keys live in several slots.
        ValueError: The keys cannot be found (a bad numkeys, say).
        TypeError: A key's type cannot be sent.
    """
    slots = dict.fromkeys(key_slot(encode(key)) for key in keys_of(spec, args))
    if len(slots) > 1 and not together:
        raise CrossSlot(list(slots))
    return next(iter(slots), None)


def whole(spec: CommandSpec, args: Sequence[Any]) -> Part:
    """Return a splittable call as one part, for a node that has all slots."""
    places = list(range(len(args[1 :: spec.width])))
    return key_slot(encode(args[1])), (*spec.words, *args[1:]), places


def split(spec: CommandSpec, args: Sequence[Any]) -> list[Part]:
    """Return a splittable call's parts, one for each slot, in the order of first appearance."""
    (word,), width = spec.words, spec.width
    keys = args[1::width]
    slots = key_slots(keys)
    if width == 1 and len(set(slots)) == len(slots) <= len(_ALONE):
        # The usual case, without a line of Python for each key.
        return list(zip(slots, zip(repeat(word), keys), _ALONE, strict=False))
    by_slot: dict[int, list[int]] = {}
    find = by_slot.get
    for index, slot in enumerate(slots):
        places = find(slot)
        if places is None:
            by_slot[slot] = [index]
        else:
            places.append(index)
    return [
        (slot, (word, *_taken(args, places, width)), places) for slot, places in by_slot.items()
    ]


def _taken(args: Sequence[Any], places: Sequence[int], width: int) -> list[Any]:
    """Return the arguments that belong to some of a call's keys."""
    starts = [1 + index * width for index in places]
    return [arg for start in starts for arg in args[start : start + width]]


def by_key(spec: CommandSpec, part: Part) -> list[Part]:
    """Return one part's keys as parts of their own: what a half-moved slot can answer."""
    slot, (word, *rest), places = part
    width = spec.width
    return [
        (slot, (word, *rest[index * width : (index + 1) * width]), [index])
        for index in range(len(places))
    ]


def merge(spec: CommandSpec, parts: Sequence[Part], replies: Sequence[Any]) -> Any:
    """Return the reply to the whole call: values in the order of its keys, a sum, or OK."""
    if spec.split is Split.SUM:
        return sum(replies)
    if spec.split is Split.PAIRS:
        return replies[0]
    count = sum([len(part[2]) for part in parts])
    if count == len(parts):
        return [value for (value,) in replies]
    values: list[Any] = [None] * count
    for (_, _, places), reply in zip(parts, replies, strict=True):
        for place, value in zip(places, reply, strict=True):
            values[place] = value
    return values
