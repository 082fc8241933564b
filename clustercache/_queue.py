"""What a pipeline holds until it is executed: calls, checked and packed. Both shells use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clustercache._commands import EMPTY_RESPONSE
from clustercache._core import wire
from clustercache._core.batch import Unit
from clustercache._core.commands import Route, keys_of
from clustercache._core.slots import encode, key_slot
from clustercache._direct import DIRECT
from clustercache._request import NO_SLOT, Command, Request, merged
from clustercache.exceptions import UnsupportedCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache._core.routing import Part
    from clustercache._limits import Limits


class Queued:
    """One call of a pipeline.

    Attributes:
        args: Its name and arguments.
        options: What its reply callback takes.
        pieces: A (slot, wire data) pair for each of its parts; nearly always one.
    """

    __slots__ = ("_parts", "args", "options", "pieces")

    def __init__(self, args: tuple[Any, ...], options: dict[str, Any], limits: Limits) -> None:
        """Check and pack it.

        Raises:
            InvalidArgumentError, CrossSlotError: It is wrong; nothing was queued.
            UnsupportedCommandError: It goes to several nodes, or changes a connection's state.
        """
        self.args = args
        self.options = options
        self._parts: list[Part] | None = None
        try:
            place, _, longest = DIRECT[args[0]]
            if len(args) <= longest:
                self.pieces = [(key_slot(args[place]), wire.pack(args))]
                return
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case
        self._prepare(limits)

    def _prepare(self, limits: Limits) -> None:
        command = Command(self.args, limits, 0.0, decode=True)
        self._parts = command.parts()
        everywhere = command.spec.route in {Route.PRIMARIES, Route.NODES}
        aimed = not {"target", "target_nodes"}.isdisjoint(self.options)
        if aimed or (everywhere and self._parts[0][0] == NO_SLOT):
            msg = "it goes to several nodes: call it on the client instead of in a pipeline"
            raise UnsupportedCommandError(msg, command=command.spec.name)
        slots = [part[0] for part in self._parts]
        self.pieces = list(zip(slots, command.packed(self._parts), strict=True))

    @property
    def name(self) -> str:
        """The command's name as it was given."""
        name = self.args[0]
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name)

    def units(self, order: int, limits: Limits, now: float) -> list[Unit]:
        """Return one unit for each part, its payload a Request.

        Args:
            order: The call's place in the pipeline.
            limits: In force.
            now: When its deadline began.
        """
        command = Command(self.args, limits, now, decode=True)
        parts = self._parts or command.parts()
        units = []
        for part in parts:
            request = Request(command, part)
            keys = keys_of(command.spec, (command.spec.name, *part[1][len(command.spec.words) :]))
            units.append(Unit(order, [encode(key) for key in keys], request.call, request))
        return units

    def result(
        self,
        replies: Sequence[Any],
        callbacks: Mapping[str, Callable[..., Any]],
        limits: Limits,
    ) -> Any:
        """Return the call's result, or the exception it ended in.

        Args:
            replies: Each part's reply or exception.
            callbacks: redis-py's, by name.
            limits: In force.
        """
        try:
            reply = replies[0]
            name = self.args[0]
            if len(replies) > 1 and self._parts is not None:
                command = Command(self.args, limits, 0.0, decode=True)
                errors = [one for one in replies if isinstance(one, Exception)]
                reply = merged(command, self._parts, replies, errors)
            if isinstance(reply, Exception):
                return self.options.get(EMPTY_RESPONSE, reply)
            if self._parts is not None:
                name = Command(self.args, limits, 0.0, decode=True).spec.name
            callback = callbacks.get(name)
            if callback is None:
                return reply
            return callback(reply, **{k: v for k, v in self.options.items() if k != "keys"})
        except Exception as error:  # noqa: BLE001 - it is this call's result
            return error
