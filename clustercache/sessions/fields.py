"""The application's fields of one session: what was read, what they are now, what to send.

A field is decoded when it is first looked at, and encoded again at the save: what changed is told
by its bytes, so that a change deep inside a value counts, and only what changed is sent.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from marshal import dumps
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clustercache.sessions.codec import Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from clustercache.sessions.codec import Codec

_UNCHANGING: Final = frozenset({str, int, float, bool, type(None)})
_ABSENT: Final = object()
_NO_REFERENCES: Final = 0
"""The form of marshal that looks at values alone: not at who else holds them."""


class Step(NamedTuple):
    """One `incr` or `append`, to be applied to whatever the server has."""

    first: Any
    """What an absent field counts for."""
    apply: Callable[[Any], Any]


class Changes(NamedTuple):
    """What a save sends.

    Attributes:
        sets: Names with their plain encodings.
        removed: Names that were stored.
        compared: The names among `sets` that are steps: with what must be stored there now.
    """

    sets: dict[str, bytes]
    removed: list[str]
    compared: dict[str, bytes | None]

    def __bool__(self) -> bool:
        return bool(self.sets or self.removed)


class Fields(MutableMapping[str, Any]):
    """The fields, as a mapping."""

    __slots__ = (
        "_codec",
        "_dropped",
        "_first",
        "_looks",
        "_plain",
        "_selector",
        "_steps",
        "_unreadable",
        "_values",
        "stored",
    )

    def __init__(
        self,
        codec: Codec,
        selector: str,
        stored: Mapping[str, bytes],
        dropped: Callable[[str, str], None],
    ) -> None:
        """Decode nothing yet.

        Args:
            codec: Reads and writes values.
            selector: Of the session that they belong to.
            stored: By name, what the server has.
            dropped: Told of a field that cannot be read: its name, and why.
        """
        self._codec = codec
        self._selector = selector
        self._dropped = dropped
        self.stored: dict[str, bytes] = dict(stored)
        self._plain: dict[str, bytes] = {}
        self._first: dict[str, Any] = {}
        """The very objects that were decoded."""
        self._looks: dict[str, bytes | None] = {}
        """What `_look` said of them then, where they may change inside."""
        self._values: dict[str, Any] = {}
        """What was decoded or set; _ABSENT where it was removed or cannot be read."""
        self._steps: dict[str, list[Step]] = {}
        self._unreadable: set[str] = set()
        """Of those that are stored; they count for absent."""

    # A mapping --------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        value = self._value(name)
        if value is _ABSENT:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        _check(name)
        self._values[name] = value
        self._steps.pop(name, None)

    def __delitem__(self, name: str) -> None:
        if self._value(name) is _ABSENT:
            raise KeyError(name)
        self._values[name] = _ABSENT
        self._steps.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._value(name) is not _ABSENT

    def __iter__(self) -> Iterator[str]:
        return self._names()

    def __len__(self) -> int:
        return sum(1 for _ in self._names())

    def _names(self) -> Iterator[str]:
        names = [*self.stored, *(name for name in self._values if name not in self.stored)]
        return (name for name in names if self._value(name) is not _ABSENT)

    def _value(self, name: str) -> Any:
        value = self._values.get(name, self)
        return self._decoded(name) if value is self else value

    def _decoded(self, name: str) -> Any:
        stored = self.stored.get(name)
        if stored is None:
            return _ABSENT
        value = self._read(name, stored)
        if value is not _ABSENT:
            self._first[name] = value
            if type(value) not in _UNCHANGING:
                self._looks[name] = _look(value)
        self._values[name] = value
        return value

    def _read(self, name: str, stored: bytes) -> Any:
        try:
            plain = self._codec.unseal(self._selector, name, stored)
            value = self._codec.decode(plain)
        except Undecodable as error:
            self._dropped(name, str(error))
            self._unreadable.add(name)
            return _ABSENT
        self._unreadable.discard(name)
        self._plain[name] = plain
        return value

    def _before(self, name: str) -> bytes | None:
        """Return the plain bytes of what is stored, None where nothing is that can be read."""
        if name not in self._plain and name in self.stored and name not in self._unreadable:
            self._read(name, self.stored[name])
        return self._plain.get(name)

    def clear(self) -> None:
        """Remove every field that can be read."""
        for name in list(self):
            del self[name]

    def before(self, name: str) -> Any:
        """Return a field as it is stored, whatever it is now; None where there is none to read."""
        stored = self.stored.get(name)
        if stored is None:
            return None
        try:
            return self._codec.decode(self._codec.unseal(self._selector, name, stored))
        except Undecodable:
            return None

    def untouched(self, names: Iterable[str]) -> bool:
        """Tell whether none of some fields was looked at, set or removed."""
        return not any(name in self._values for name in names)

    # Steps ------------------------------------------------------------------------------------

    def step(self, name: str, step: Step) -> Any:
        """Apply a step, now here and at the save to what the server has; return the new value."""
        _check(name)
        value = self.get(name, _ABSENT)
        clean = not self._is_changed(name, value) or name in self._steps
        new = step.apply(step.first if value is _ABSENT else value)
        if clean:
            self._steps.setdefault(name, []).append(step)
        self._values[name] = new
        return new

    def rebase(self, name: str, stored: bytes | None) -> None:
        """Apply the steps of a field to what another has stored there meanwhile."""
        for held in (self.stored, self._plain, self._first, self._looks):
            held.pop(name, None)
        self._unreadable.discard(name)
        value = _ABSENT
        if stored is not None:
            self.stored[name] = stored
            value = self._read(name, stored)
        self._values[name] = self._stepped(name, value)

    def _stepped(self, name: str, value: Any) -> Any:
        for step in self._steps[name]:
            value = step.apply(step.first if value is _ABSENT else value)
        return value

    # What to send -----------------------------------------------------------------------------

    def changes(self) -> Changes:
        """Return what is to be sent."""
        sets: dict[str, bytes] = {}
        removed: list[str] = []
        for name, value in self._values.items():
            if value is _ABSENT:
                if name in self.stored and name not in self._unreadable:
                    removed.append(name)
            elif not self._is_as_read(name, value):
                plain = self._encode(name, value)
                if plain != self._before(name):
                    sets[name] = plain
        compared = {name: self.stored.get(name) for name in self._steps if name in sets}
        return Changes(sets, removed, {n: s for n, s in compared.items() if self._only_steps(n)})

    def _is_as_read(self, name: str, value: Any) -> bool:
        """Tell whether a value is still what was decoded; False where only its encoding tells."""
        if self._first.get(name, self) is not value:
            return False
        if type(value) in _UNCHANGING:
            return True
        before = self._looks.get(name)
        return before is not None and before == _look(value)

    def seal(self, plain: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return what is stored for encodings."""
        seal, selector = self._codec.seal, self._selector
        return {name: seal(selector, name, value) for name, value in plain.items()}

    def saved(self, changes: Changes, sealed: Mapping[str, bytes]) -> None:
        """Take note of what is stored now."""
        self.stored.update(sealed)
        self._plain.update(changes.sets)
        self._unreadable.difference_update(changes.sets)
        for name in changes.sets:
            self._first[name] = self._values[name]
            self._looks.pop(name, None)
        for name in changes.removed:
            self._looks.pop(name, None)
            del self.stored[name]
            del self._values[name]
            self._plain.pop(name, None)
            self._first.pop(name, None)
        self._steps.clear()

    def size(self, changes: Changes) -> int:
        """Return how many bytes the session's names and values take, once it is saved."""
        sizes = {name: len(name.encode()) + len(data) for name, data in self.stored.items()}
        sizes |= {name: len(name.encode()) + len(data) for name, data in changes.sets.items()}
        return sum(sizes.values()) - sum(sizes[name] for name in changes.removed)

    def _only_steps(self, name: str) -> bool:
        """Tell whether a value is what its steps made of the stored one, with no other change."""
        plain = self._before(name)
        before = _ABSENT if plain is None else self._codec.decode(plain)
        return self._encode(name, self._stepped(name, before)) == self._encode(
            name, self._values[name]
        )

    def _is_changed(self, name: str, value: Any) -> bool:
        if value is _ABSENT:
            return name in self.stored and name not in self._unreadable
        return self._encode(name, value) != self._before(name)

    def _encode(self, name: str, value: Any) -> bytes:
        try:
            return self._codec.encode(value)
        except TypeError as error:
            msg = f"the session's field {name!r} cannot be stored: {error}"
            raise TypeError(msg) from error


def _look(value: Any) -> bytes | None:
    """Return what tells a value from any other, faster than its encoding; None for some values.

    Exact in types as in values: what looks the same is encoded the same, by any serializer.
    """
    try:
        return dumps(value, _NO_REFERENCES)
    except ValueError:
        return None


def _check(name: object) -> None:
    if not isinstance(name, str):
        msg = f"a session's keys are texts, got {type(name).__name__}"
        raise TypeError(msg)
    name.encode()  # what is no UTF-8 is no name
