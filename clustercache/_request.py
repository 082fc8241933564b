"""From a call's arguments to requests: checked before anything is sent. Both shells use it.

A request is one command for one slot (or for one node). A call becomes one request, or several
when its keys live in several slots and the command can be split, or when it goes to many nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from clustercache._core import routing, wire
from clustercache._core.commands import (
    Route,
    Safety,
    Split,
    is_blocking,
    keys_of,
    resolve,
    safety_of,
)
from clustercache._core.decisions import Call, Event
from clustercache._core.routing import Part
from clustercache._core.slots import SLOT_COUNT, encode
from clustercache.exceptions import (
    CrossSlotError,
    InvalidArgumentError,
    PartialError,
    UnsupportedCommandError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clustercache._core.address import Address
    from clustercache._core.commands import CommandSpec
    from clustercache._core.wire import ServerError
    from clustercache._limits import Limits


class Failed(NamedTuple):
    """What an attempt ended in, and the server's error if it was one."""

    event: Event
    error: ServerError | None = None


class Request:
    """One command to one slot (or, with `target`, to one node), packed."""

    __slots__ = ("call", "data", "deadline", "decode", "limits", "part", "slot", "spec", "target")

    def __init__(
        self,
        spec: CommandSpec,
        part: Part,
        *,
        slot: int | None,
        safety: Safety,
        limits: Limits,
        deadline: float,
        target: Address | None = None,
        decode: bool = True,
    ) -> None:
        """Pack the command.

        Args:
            spec: Its entry in the command table.
            part: Its name and arguments, and which keys of the whole call they are.
            slot: The slot it is for, or None for any node.
            safety: Its class, options included.
            limits: The call's deadline in seconds, and what is sent again.
            deadline: When it passes, in monotonic seconds.
            target: The node it is for, whatever the map says.
            decode: False gives the reply's strings as bytes, whatever the configuration.
        """
        self.spec = spec
        self.part = part
        self.slot = slot
        self.data = wire.pack((*spec.words, *part.args[1:]))
        splittable = spec.split is not Split.NONE and len(part.at) > 1
        self.call = Call(safety, limits.retry.resend, splittable)
        self.limits = limits
        self.deadline = deadline
        self.target = target
        self.decode = decode

    def to(self, *, slot: int | None = None, target: Address | None = None) -> Request:
        """Return the same command for another slot or node."""
        return self._like(self.part, slot, target)

    def by_key(self) -> list[Request]:
        """Return one request for each key: what a half-moved slot can answer."""
        return [self._like(part, part.slot, None) for part in routing.by_key(self.spec, self.part)]

    def _like(self, part: Part, slot: int | None, target: Address | None) -> Request:
        return Request(
            self.spec,
            part,
            slot=slot,
            safety=self.call.safety,
            limits=self.limits,
            deadline=self.deadline,
            target=target,
            decode=self.decode,
        )

    def facts(self, node: Address | None) -> dict[str, Any]:
        """Return what every error says: never a key or a value."""
        where = str(node) if node else ""
        return {"command": self.spec.name, "slot": self.slot, "node": where}


def checked(args: Sequence[Any]) -> tuple[CommandSpec, Sequence[Any]]:
    """Return a call's entry in the command table, and its arguments with the whole name first.

    Raises:
        InvalidArgumentError: It has no name, or an argument of a type that cannot be sent.
        UnsupportedCommandError: It would change the state of a shared connection.
    """
    if not args or not isinstance(args[0], (str, bytes)) or not args[0].strip():
        msg = "a command's name is needed, as str or bytes"
        raise InvalidArgumentError(msg)
    spec, args = resolve(args)
    if spec.refused:
        msg = f"not on a shared connection: {spec.refused}"
        raise UnsupportedCommandError(msg, command=spec.name)
    for place, value in enumerate(args[1:], 1):
        try:
            encode(value)
        except (TypeError, UnicodeError) as error:
            msg = f"argument {place}: {_unsendable(error)}"
            raise InvalidArgumentError(msg, command=spec.name) from None
    if is_blocking(spec, args):
        msg = "blocking commands are not supported yet"
        raise UnsupportedCommandError(msg, command=spec.name)
    return spec, args


def _unsendable(error: Exception) -> str:
    # A codec's error quotes the text it failed on: a value does not belong in a message.
    return str(error) if isinstance(error, TypeError) else "the text cannot be encoded"


def requests_for(
    spec: CommandSpec,
    args: Sequence[Any],
    limits: Limits,
    deadline: float,
    *,
    decode: bool = True,
) -> list[Request]:
    """Return the requests of a checked call that follows its keys; one without keys has no slot.

    Raises:
        CrossSlotError: The keys live in several slots and the command cannot be split.
        InvalidArgumentError: The keys cannot be found, or there are none.
    """
    try:
        safety = safety_of(spec, args)
        if spec.split is not Split.NONE:
            keys_of(spec, args)
            parts = routing.split(spec, args)
        else:
            parts = [_whole(spec, args)]
    except routing.CrossSlot as error:
        raise CrossSlotError(str(error), command=spec.name) from None
    except ValueError as error:
        raise InvalidArgumentError(str(error), command=spec.name) from None
    return [
        Request(
            spec,
            part,
            slot=part.slot if part.slot >= 0 else None,
            safety=safety,
            limits=limits,
            deadline=deadline,
            decode=decode,
        )
        for part in parts
    ]


_NO_SLOT = -1


def _whole(spec: CommandSpec, args: Sequence[Any]) -> Part:
    if spec.route is Route.SLOT:
        slot: int | None = _slot_number(args)
    else:
        slot = routing.slot_of(spec, args)
    return Part(_NO_SLOT if slot is None else slot, tuple(args), (0,))


def _slot_number(args: Sequence[Any]) -> int:
    """Return the slot that CLUSTER COUNTKEYSINSLOT and the like name."""
    try:
        slot = int(args[1])
    except (IndexError, TypeError, ValueError):
        slot = -1
    if not 0 <= slot < SLOT_COUNT:
        msg = f"the slot must be a number from 0 to {SLOT_COUNT - 1}"
        raise ValueError(msg)
    return slot


def merged(requests: Sequence[Request], replies: Sequence[Any]) -> Any:
    """Return one reply from those of a split call's requests.

    Raises:
        PartialError: A write succeeded for some keys and failed for others.
        Exception: The first error, where nothing is written or nothing succeeded.
    """
    spec = requests[0].spec
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    if not errors:
        parts = [request.part for request in requests]
        return routing.merge(spec, list(zip(parts, replies, strict=True)))
    if spec.readonly or len(errors) == len(replies):
        raise errors[0]
    outcomes = {
        request.part.args[1 + index * spec.width]: reply
        for request, reply in zip(requests, replies, strict=True)
        for index in range(len(request.part.at))
    }
    msg = f"{len(errors)} of {len(replies)} parts failed, the first with: {errors[0]}"
    raise PartialError(msg, outcomes, command=spec.name) from errors[0]
