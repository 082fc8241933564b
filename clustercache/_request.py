"""From a call's arguments to requests: checked before anything is sent. Both shells use it.

A call is a `Command`. It has one part for each slot that its keys live in; a `Request` is one part
with all that is needed to send it, to judge what comes back, and to send it again.
"""

from __future__ import annotations

from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache._core import decisions, routing, wire
from clustercache._core.blocking import wait_of
from clustercache._core.commands import (
    Route,
    Safety,
    Split,
    keys_of,
    resolve,
    safety_of,
)
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
    from clustercache._core.decisions import Event
    from clustercache._core.routing import Part
    from clustercache._core.wire import ServerError
    from clustercache._limits import Limits

NO_SLOT = -1
"""The slot of a part without keys."""


_words = itemgetter(1)
"""The words of a part."""


class Unsure(Exception):  # noqa: N818 - an event
    """How the call is sent depends on the topology, which is not known yet: learn it first."""


NOT_TRIED: Final = object()
"""What a command has that was not sent, for a reason that says nothing of its node."""


class Failed(NamedTuple):
    """What an attempt ended in, and the server's error if it was one."""

    event: Event
    error: ServerError | None = None


class Command:
    """A call, checked.

    Attributes:
        spec: Its entry in the command table.
        args: Its whole name and its arguments.
        limits: The deadline in seconds, and what is sent again.
        deadline: When it passes, in monotonic seconds.
        decode: False gives the reply's strings as bytes, whatever the configuration.
        wait: How long it blocks, or None if it does not.
    """

    __slots__ = ("args", "deadline", "decode", "limits", "spec", "wait")

    def __init__(
        self,
        args: Sequence[Any],
        limits: Limits,
        now: float,
        *,
        decode: bool,
        may_block: bool = False,
    ) -> None:
        """Find the command.

        Args:
            args: Its name and arguments.
            limits: In force.
            now: When it begins, in monotonic seconds.
            decode: See above.
            may_block: Whether it has a connection of its own if it blocks.

        Raises:
            InvalidArgumentError: It has no name.
            UnsupportedCommandError: It would block, or change the state of, a shared connection.
        """
        if not args or not isinstance(args[0], (str, bytes)) or not args[0].strip():
            msg = "a command's name is needed, as str or bytes"
            raise InvalidArgumentError(msg)
        self.spec, self.args = resolve(args)
        self.wait = wait_of(self.spec, self.args) if self.spec.timeout is not None else None
        if self.wait is not None:
            chosen = limits.deadline if limits.chosen else None
            limits = limits._replace(deadline=self.wait.limit(chosen, limits.deadline))
        self.limits = limits
        self.deadline = now + limits.deadline
        self.decode = decode
        if self.spec.refused:
            msg = f"not on a shared connection: {self.spec.refused}"
            raise UnsupportedCommandError(msg, command=self.spec.name)
        if self.wait is not None and not may_block:
            msg = "it would block what is sent with it: call it on the client itself"
            raise UnsupportedCommandError(msg, command=self.spec.name)

    @property
    def safety(self) -> Safety:
        """Its class, options included."""
        return safety_of(self.spec, self.args)

    def parts(self, single: bool | None = False) -> list[Part]:  # noqa: FBT001, FBT002 - a word
        """Return one part for each slot; one with NO_SLOT if there are no keys.

        Args:
            single: Whether one shard owns all slots and takes their keys together; None says that
                this is not known yet.

        Raises:
            Unsure: It depends on what is not known yet.
            CrossSlotError: The keys live in several slots and the command cannot be split.
            InvalidArgumentError: The keys cannot be found, or an argument cannot be sent.
        """
        kind: type[InvalidArgumentError]
        try:
            return self._by_slot(single)
        except routing.CrossSlot as error:
            kind, problem = CrossSlotError, str(error)
        except (ValueError, TypeError) as error:
            kind, problem = InvalidArgumentError, str(error)
        self.check_arguments()
        if single is None and kind is CrossSlotError:
            raise Unsure
        raise kind(problem, command=self.spec.name)

    def _by_slot(self, single: bool | None) -> list[Part]:  # noqa: FBT001 - as in `parts`
        spec = self.spec
        if spec.split is not Split.NONE:
            keys_of(spec, self.args)
            if single:
                return [routing.whole(spec, self.args)]
            parts = routing.split(spec, self.args)
            if single is None and len(parts) > 1:
                self.check_arguments()
                raise Unsure
            return parts
        self.safety  # noqa: B018 - a call whose options cannot be told is refused, too
        slot = self._slot_number() if spec.route is Route.SLOT else None
        if slot is None:
            slot = routing.slot_of(spec, self.args, together=bool(single))
        words = (*spec.words, *self.args[1:])
        return [(NO_SLOT if slot is None else slot, words, [0])]

    def _slot_number(self) -> int:
        """Return the slot that CLUSTER COUNTKEYSINSLOT and the like name."""
        slot = NO_SLOT
        with suppress(IndexError, TypeError, ValueError):
            slot = int(self.args[1])
        if not 0 <= slot < SLOT_COUNT:
            msg = f"the slot must be a number from 0 to {SLOT_COUNT - 1}"
            raise ValueError(msg)
        return slot

    def packed(self, parts: Sequence[Part]) -> list[bytes]:
        """Return the wire data of parts.

        Raises:
            InvalidArgumentError: An argument cannot be sent; says which, never its value.
        """
        with suppress(TypeError, UnicodeError):
            return list(map(wire.pack, map(_words, parts)))
        self.check_arguments()
        # Of what can be sent, only a bytearray is not packed as it is.
        return [wire.pack(tuple[Any, ...](map(encode, part[1]))) for part in parts]

    def check_arguments(self) -> None:
        """Raise InvalidArgumentError for the first argument that cannot be sent."""
        for place, value in enumerate(self.args[1:], 1):
            msg = "the text cannot be encoded"
            # The codec's own error quotes the text: it must not even be this one's context.
            with suppress(UnicodeError):
                try:
                    encode(value)
                    continue
                except TypeError as error:
                    msg = str(error)
            raise InvalidArgumentError(f"argument {place}: {msg}", command=self.spec.name)


class Terms(NamedTuple):
    """What is asked of a request's command: its limits, its deadline, and the decoding."""

    limits: Limits
    deadline: float
    decode: bool = True


class Lease(NamedTuple):
    """A connection that is kept.

    Args:
        pool: Whose it is.
        connection: The connection.
        asking: Whether the slot is on its way to that node: each command needs an ASKING.
    """

    pool: Any
    connection: Any
    asking: bool


class Exchange:
    """What goes to the owner of one slot in one write, and on one connection.

    Attributes:
        pieces: The wire data; each piece has a reply of its own.
        slot: Whose owner it is for; None is any primary.
        target: The node it is for, whatever the map says.
        via: Who answered in the end, where that was not left to the map (after an ASK).
        command: Its limits and its deadline.
        call: What `decide()` is told.
        keeps: Whether the connection is kept, as `lease`, where there is a reply.
    """

    __slots__ = ("call", "command", "lease", "name", "pieces", "slot", "target", "via")
    keeps = False

    def __init__(
        self,
        name: str,
        pieces: Sequence[bytes],
        slot: int | None,
        safety: Safety,
        terms: Terms | Command,
        *,
        splittable: bool = False,
        target: Address | None = None,
    ) -> None:
        """Take what is to be sent.

        Args:
            name: The command's, for errors.
            pieces: The wire data.
            slot: Whose owner it is for.
            safety: Whether the whole may be sent again after a lost reply.
            terms: Deadline and retry policy.
            splittable: Whether `by_key` has an answer.
            target: The node it is for, whatever the map says.
        """
        self.name = name
        self.pieces = pieces
        self.slot = slot
        self.target = target
        self.via: Address | None = None
        self.command = terms
        fixed = target is not None
        self.call = decisions.Call(safety, terms.limits.retry.resend, splittable, fixed)
        self.lease: Lease | None = None

    def outcome(self, outcomes: Sequence[Any]) -> Any:
        """Return what an attempt ended in, from what came back for each piece."""
        return outcomes[-1]

    def facts(self, node: Address | None) -> dict[str, Any]:
        """Return what every error says: never a key or a value."""
        return {"command": self.name, "slot": self.slot, "node": str(node) if node else ""}


class Request(Exchange):
    """One part of a command, packed: for a slot or, with `target`, for one node."""

    __slots__ = ("data", "part", "whole")

    def __init__(self, command: Command, part: Part, target: Address | None = None) -> None:
        """Pack it.

        Args:
            command: The whole call.
            part: One of its parts.
            target: The node it is for, whatever the map says.
        """
        (self.data,) = command.packed([part])
        slot = part[0] if part[0] != NO_SLOT else None
        splittable = command.spec.split is not Split.NONE and len(part[2]) > 1
        super().__init__(
            command.spec.name,
            [self.data],
            slot,
            command.safety,
            command,
            splittable=splittable,
            target=target,
        )
        self.part = part
        self.whole = command

    def by_key(self) -> list[Request]:
        """Return one request for each key: what a half-moved slot can answer."""
        parts = routing.by_key(self.whole.spec, self.part)
        return [Request(self.whole, part) for part in parts]


def by_key(parts: Sequence[Part], replies: Sequence[Any]) -> list[Any]:
    """Return what an MGET of several parts says of each key: its value, or its part's error.

    Args:
        parts: The call's.
        replies: Each part's reply, or the exception it ended in.
    """
    outcomes: list[Any] = [None] * sum(len(places) for _, _, places in parts)
    for (_, _, places), reply in zip(parts, replies, strict=True):
        values = [reply] * len(places) if isinstance(reply, Exception) else reply
        for place, value in zip(places, values, strict=True):
            outcomes[place] = value
    return outcomes


def merged(
    command: Command, parts: Sequence[Part], replies: Sequence[Any], errors: Sequence[Exception]
) -> Any:
    """Return one reply from those of a split call's parts.

    Args:
        command: The call.
        parts: Its parts.
        replies: Each part's reply, or the exception it ended in.
        errors: The exceptions among them.

    Raises:
        PartialError: A write succeeded for some keys and failed for others.
        Exception: The first error, where nothing is written or nothing succeeded.
    """
    spec = command.spec
    if not errors:
        return routing.merge(spec, parts, replies)
    partly = any(isinstance(error, PartialError) for error in errors)
    if spec.readonly or (len(errors) == len(replies) and not partly):
        # What may have been applied is what a caller must know of first.
        raise next((e for e in errors if getattr(e, "applied", "no") == "maybe"), errors[0])
    outcomes: dict[Any, Any] = {}
    for (_, words, _), reply in zip(parts, replies, strict=True):
        keys = words[1 :: spec.width]
        # A part that was asked key by key knows each key's own outcome.
        known = reply.outcomes if isinstance(reply, PartialError) else dict.fromkeys(keys, reply)
        outcomes.update(known)
    msg = f"{len(errors)} of {len(replies)} parts failed, the first with: {errors[0]}"
    raise PartialError(msg, outcomes, command=spec.name, applied="maybe") from errors[0]
