"""What a pipeline holds until it is executed: calls, checked and packed. Both shells use it.

A plain call (one word, one key at a fixed place) is kept as its name, its slot and its bytes: what
else the rounds of a batch need to know can be read from the bytes again, in the rare case. So a
million calls cost little more than what will be written.
"""

from __future__ import annotations

from array import array
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from clustercache._commands import EMPTY_RESPONSE, NEVER_DECODE, REPEATABLE, Commands, for_callback
from clustercache._core import wire
from clustercache._core.batch import Unit
from clustercache._core.commands import Route, keys_of
from clustercache._core.slots import encode, key_slot
from clustercache._direct import DIRECT
from clustercache._request import NO_SLOT, Command, Request, merged
from clustercache.exceptions import CrossSlotError, UnsupportedCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clustercache._core.routing import Part
    from clustercache._limits import Limits, LimitScope
    from clustercache.config import ClusterConfig

WINDOW = 10_000
"""Calls that are under way at a time: what bounds a long pipeline's memory, here and there."""


_pack = wire.pack


class Special:
    """A call that is not plain: of several parts, without a key, or with options."""

    __slots__ = ("args", "name", "options", "parts")

    def __init__(self, command: Command, parts: list[Part], options: dict[str, Any]) -> None:
        """Keep what its result is made of."""
        self.args = command.args
        self.name = command.spec.name
        self.parts = parts
        self.options = options


class Chunk:
    """Up to `WINDOW` calls; they go out together.

    Attributes:
        calls: Each call's name, or a `Special`.
        slots: The slot of each piece; one that has none goes to any primary.
        data: The wire data of each piece; a plain call has one.
        plain: Whether all calls are.
    """

    __slots__ = ("calls", "data", "plain", "slots")

    def __init__(self) -> None:
        """Begin empty."""
        self.calls: list[Any] = []
        self.slots = array("h")
        self.data: list[bytes] = []
        self.plain = True

    def mark(self) -> tuple[int, int]:
        """Return what `forget` needs to forget all that comes from here on."""
        return len(self.data), len(self.calls)

    def forget(self, mark: tuple[int, int]) -> None:
        """Forget the calls since `mark`."""
        pieces, calls = mark
        del self.data[pieces:], self.slots[pieces:], self.calls[calls:]

    def pieces(self) -> Iterator[tuple[Any, range]]:
        """Yield each call with the places of its pieces."""
        at = 0
        for call in self.calls:
            end = at + (len(call.parts) if type(call) is Special else 1)
            yield call, range(at, end)
            at = end

    def units(self, slots: set[int], limits: Limits, now: float) -> list[tuple[int, Unit]]:
        """Return a unit, and its place, for each piece in some slots: others share no key with it.

        Args:
            slots: Where something is to be sent again.
            limits: In force.
            now: When their deadline began.
        """
        found: list[tuple[int, Unit]] = []
        for order, (call, places) in enumerate(self.pieces()):
            if any(self.slots[place] in slots for place in places):
                special = type(call) is Special
                args = call.args if special else tuple(wire.unpack(self.data[places[0]]))
                again = limits.repeating() if special and call.options.get(REPEATABLE) else limits
                command = Command(args, again, now, decode=True)
                parts = call.parts if special else command.parts()
                units = [_unit(order, command, part) for part in parts]
                found += zip(places, units, strict=True)
        return found

    def results(
        self, replies: Sequence[Any], callbacks: Mapping[str, Callable[..., Any]], limits: Limits
    ) -> list[Any]:
        """Return each call's result, or the exception it ended in.

        Args:
            replies: Each piece's reply or exception.
            callbacks: redis-py's, by name.
            limits: In force.
        """
        find = callbacks.get
        if self.plain and not any(map(find, set(self.calls))):
            return list(replies)
        results = []
        for call, places in self.pieces():
            try:
                if type(call) is Special:
                    result = _special_result(call, [replies[p] for p in places], find, limits)
                else:
                    result = replies[places[0]]
                    callback = find(call)
                    if callback is not None and not isinstance(result, Exception):
                        result = callback(result)
            except Exception as error:  # noqa: BLE001 - it is this call's result
                result = error
            results.append(result)
        return results


def _unit(order: int, command: Command, part: Part) -> Unit:
    request = Request(command, part)
    spec = command.spec
    keys = keys_of(spec, (spec.name, *part[1][len(spec.words) :]))
    return Unit(order, [encode(key) for key in keys], request.call, request)


def _special_result(
    call: Special, replies: list[Any], find: Callable[[str], Any], limits: Limits
) -> Any:
    reply = replies[0]
    if len(replies) > 1:
        command = Command(call.args, limits, 0.0, decode=True)
        errors = [one for one in replies if isinstance(one, Exception)]
        reply = merged(command, call.parts, replies, errors)
    if isinstance(reply, Exception):
        return call.options.get(EMPTY_RESPONSE, reply)
    callback = find(call.name)
    if callback is None:
        return reply
    return callback(reply, **for_callback(call.options))


class Queue(Commands):
    """Every command method; a call is checked, packed and kept. Not thread-safe."""

    _callbacks: Mapping[str, Callable[..., Any]]

    def __init__(self, config: ClusterConfig, limits: LimitScope) -> None:
        """Begin empty.

        Args:
            config: The client's.
            limits: The client's.
        """
        self._limits = limits
        self._config = config
        self._chunks: list[Chunk] = []
        self._start(Chunk())
        if config.recodes:
            self.execute_command = self._recoded  # type: ignore[method-assign]

    def execute_command(self, *args: Any, **options: Any) -> Self:
        """Keep a call for `execute`, and return the pipeline.

        Raises:
            InvalidArgumentError, CrossSlotError: It is wrong; nothing was kept.
            UnsupportedCommandError: It goes to several nodes, or changes a connection's state.
        """
        try:
            place, _, longest = DIRECT[args[0]]
            if len(args) <= longest and not options:
                slot, data = key_slot(args[place]), _pack(args)
                self._add_slot(slot)
                self._add_data(data)
                self._add_call(args[0])
                if len(self._chunk.calls) >= WINDOW:
                    self._begin_chunk()
                return self
        except (LookupError, TypeError, AttributeError, UnicodeError):
            pass  # not the plain case
        self._keep_special(args, options)
        return self

    def _recoded(self, *args: Any, **options: Any) -> Self:
        """Encode str in the codec of the configuration, which hiredis does not know."""
        return type(self).execute_command(
            self, *args[:1], *self._config.recode(args[1:]), **options
        )

    def _keep_special(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        command = Command(args, self._limits.in_force(), monotonic(), decode=True)
        parts = self._parts_of(command)
        everywhere = command.spec.route in {Route.PRIMARIES, Route.NODES}
        aimed = not {"target", "target_nodes"}.isdisjoint(options)
        if aimed or (everywhere and parts[0][0] == NO_SLOT):
            msg = "it goes to several nodes: call it on the client instead of in a pipeline"
            raise UnsupportedCommandError(msg, command=command.spec.name)
        if NEVER_DECODE in options and self._config.decode_responses:
            msg = "its reply is no text: call it on the client instead of in a pipeline"
            raise UnsupportedCommandError(msg, command=command.spec.name)
        data = command.packed(parts)
        chunk = self._chunk
        chunk.plain = False
        chunk.data += data
        chunk.slots.extend([part[0] for part in parts])
        chunk.calls.append(Special(command, parts, options))
        if len(chunk.calls) >= WINDOW:
            self._begin_chunk()

    def _parts_of(self, command: Command) -> list[Part]:
        return command.parts()

    def _if_not_together(self, error: CrossSlotError) -> None:
        """Raise an error, unless one shard takes keys of all slots together."""
        raise error

    def _start(self, chunk: Chunk) -> None:
        self._chunk = chunk
        # Looked up once and not for each call: half of what keeping one costs is finding where.
        self._add_slot = chunk.slots.append
        self._add_data = chunk.data.append
        self._add_call = chunk.calls.append

    def _begin_chunk(self) -> None:
        self._chunks.append(self._chunk)
        self._start(Chunk())

    def _take(self) -> list[Chunk]:
        """Return the chunks in order, and begin anew."""
        chunks = [*self._chunks, self._chunk] if self._chunk.calls else self._chunks
        self._chunks = []
        self._start(Chunk())
        return chunks

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._chunks) * WINDOW + len(self._chunk.calls)

    def __bool__(self) -> bool:
        """Tell that it is there, also while it is empty."""
        return True

    def __repr__(self) -> str:
        """Show how many calls are kept; never what they are."""
        return f"<{type(self).__name__} of {len(self)} calls>"


def name_of(call: Any) -> str:
    """Return a kept call's name."""
    return str(call.name) if type(call) is Special else str(call)


def numbered(error: Exception, number: int, name: str) -> Exception:
    """Let an error say which call of the pipeline it is from; never its arguments."""
    prefix = f"Command # {number + 1} ({name}) of pipeline caused error: "
    error.args = (prefix + str(error.args[0] if error.args else error), *error.args[1:])
    return error


def first_error(chunk: Chunk, results: list[Any], before: int) -> Exception | None:
    """Return the first exception among results, naming its call's number.

    Args:
        chunk: The calls.
        results: Theirs.
        before: How many calls came before.
    """
    for number, result in enumerate(results):
        if isinstance(result, Exception):
            return numbered(result, before + number, name_of(chunk.calls[number]))
    return None
