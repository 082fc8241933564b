"""From a call to slots: where it goes, how it splits, how the parts' replies become one.

Source: Redis Cluster specification, "Multiple keys operations": the keys of one command must share
a slot. The commands that are only a loop over their keys are split here, one part per slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core.commands import CommandSpec, Split, keys_of
from clustercache._core.slots import encode, key_slot

if TYPE_CHECKING:
    from collections.abc import Sequence


class CrossSlot(ValueError):  # noqa: N818 - the shells raise CrossSlotError from it
    """The keys of a command that cannot be split live in `slots`."""

    def __init__(self, slots: Sequence[int]) -> None:
        self.slots = tuple(slots)
        super().__init__(
            f"the keys live in slots {', '.join(map(str, self.slots[:4]))}: this command needs "
            "them in one slot; give them a common {hash tag}, as in {user:7}:name, {user:7}:cart"
        )


class Part(NamedTuple):
    """One slot's share of a split call; `at` are the positions of its keys in the whole call."""

    slot: int
    args: tuple[Any, ...]
    at: tuple[int, ...]


def slot_of(spec: CommandSpec, args: Sequence[Any]) -> int | None:
    """Return the one slot of a call's keys, or None where it has no key.

    Args:
        spec: The command.
        args: Its name and arguments.

    Raises:
        CrossSlot: The keys live in several slots.
        ValueError: The keys cannot be found (a bad numkeys, say).
        TypeError: A key's type cannot be sent.
    """
    slots = dict.fromkeys(key_slot(encode(key)) for key in keys_of(spec, args))
    if len(slots) > 1:
        raise CrossSlot(list(slots))
    return next(iter(slots), None)


def split(spec: CommandSpec, args: Sequence[Any]) -> list[Part]:
    """Return a splittable call's parts, one for each slot, in the order of first appearance."""
    width = spec.width
    by_slot: dict[int, tuple[list[Any], list[int]]] = {}
    for index, at in enumerate(range(1, len(args), width)):
        key = args[at]
        slot = key_slot(key if type(key) is str or type(key) is bytes else encode(key))
        part = by_slot.get(slot)
        if part is None:
            part = by_slot[slot] = ([args[0]], [])
        part[0].extend(args[at : at + width])
        part[1].append(index)
    return [Part(slot, tuple(words), tuple(at)) for slot, (words, at) in by_slot.items()]


def by_key(spec: CommandSpec, part: Part) -> list[Part]:
    """Return one part's keys as parts of their own: what a half-moved slot can answer."""
    name, *words = part.args
    width = spec.width
    return [
        Part(part.slot, (name, *words[index * width : (index + 1) * width]), (index,))
        for index in range(len(part.at))
    ]


def merge(spec: CommandSpec, parts: Sequence[tuple[Part, Any]]) -> Any:
    """Return the reply to the whole call: values in the order of its keys, a sum, or OK."""
    if spec.split is Split.SUM:
        return sum(reply for _, reply in parts)
    if spec.split is Split.PAIRS:
        return parts[0][1]
    values: list[Any] = [None] * sum(len(part.at) for part, _ in parts)
    for part, reply in parts:
        for at, value in zip(part.at, reply, strict=True):
            values[at] = value
    return values
