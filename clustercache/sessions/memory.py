"""`memory://`: sessions of one process, for tests and for development without a server.

Each method is what the script, or the command, of its name does at a server.
"""

from __future__ import annotations

import re
import threading
from time import time
from typing import TYPE_CHECKING, Any

from clustercache.sessions.calls import Acknowledged, Call, Loaded
from clustercache.sessions.record import FACTS
from clustercache.sessions.scripts import EPOCHS, LATEST, NONCE_BYTES, NONCES_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

_HEAD = 13
"""How many of a save's ARGV come before its fields."""


class _Held:
    """A hash or a sorted set, and when it ends."""

    __slots__ = ("ends", "fields", "scores")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.scores: dict[bytes, float] = {}
        self.ends = 0


class Memory:
    """Runs calls on what this process holds; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        """Begin empty.

        Args:
            clock: Returns seconds since 1970.
        """
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[str, _Held] = {}
        self._swept = 0

    def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' outcomes, in order."""
        with self._lock:
            self._sweep()
            replies = [getattr(self, f"_{one.op}")(one.key, *one.args) for one in calls]
        return [
            Acknowledged(reply, 0) if call.lasting else reply
            for call, reply in zip(calls, replies, strict=True)
        ]

    def keys(self, pattern: str) -> Iterator[list[str]]:
        """Yield the names of what is held, a lot at a time."""
        with self._lock:
            names = [key for key in self._held if self._find(key)]
        start = re.sub(r"\\(.)", r"\1", pattern.removesuffix("*"))
        yield [key for key in names if key.startswith(start)]

    # Keys -------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _sweep(self) -> None:
        if self._now - self._swept > 10_000:
            self._swept = self._now
            for key in list(self._held):
                self._find(key)

    def _find(self, key: str) -> _Held | None:
        held = self._held.get(key)
        if held is not None and held.ends <= self._now:
            del self._held[key]
            return None
        return held

    def _made(self, key: str) -> _Held:
        held = self._find(key)
        if held is None:
            held = self._held[key] = _Held()
        return held

    # Sessions ---------------------------------------------------------------------------------

    def _load(self, key: str) -> Loaded:
        held = self._find(key)
        return Loaded({}, -2) if held is None else Loaded(dict(held.fields), held.ends - self._now)

    def _create(self, key: str, digest: bytes, idle: int, lifetime: int, *pairs: Any) -> list[Any]:
        held, now = self._find(key), self._now
        if held is not None and held.fields.get(b"_k") != digest:
            return [b"taken"]
        held, left = self._made(key), min(idle, lifetime)
        facts = ("_k", digest, "_r", now, "_c", now, "_a", now, "_i", idle, "_x", now + lifetime)
        _put(held, (*facts, *pairs))
        held.ends = now + left
        return [b"ok", 1, left]

    def _save(self, key: str, *argv: Any) -> list[Any]:
        held, now = self._find(key), self._now
        digest, nonce, again, seen, mode, fresh, grace, age, idle, lifetime = argv[:10]
        if held is None or int(held.fields.get(b"_x", 0)) <= now:
            return [b"gone"]
        has, left = held.fields, held.ends - now
        if fresh and has[b"_k"] == fresh:
            return [b"ok", 1, left]
        if again and nonce and (verdict := _seen_before(has, nonce, seen, left)):
            return verdict
        first = digest == has[b"_k"]
        until = int(has[b"_kpx"]) if b"_kpx" in has else None
        if not first and (digest != has.get(b"_kp") or (until is not None and until <= now)):
            return [b"gone"]
        sets, removed, compared = _apart(argv)
        if any(has.get(name) != wanted for name, wanted in compared.items()):
            return [b"conflict", *(has.get(name) for name in compared)]
        _put(held, sets)
        for name in removed:
            has.pop(_bytes(name), None)
        changed = self._replace_key(held, mode, fresh, first=first, grace=grace, age=age)
        if nonce:
            has[b"_n"] = (has.get(b"_n", b"") + nonce)[-NONCES_BYTES:]
        if idle:
            has[b"_i"] = _bytes(idle)
        if lifetime:
            has[b"_x"] = _bytes(now + lifetime)
        has[b"_a"] = _bytes(now)
        left = min(int(has[b"_i"]), int(has[b"_x"]) - now)
        held.ends = now + left
        return [b"ok", changed, left, int(first)]

    def _replace_key(
        self, held: _Held, mode: str, fresh: bytes, *, first: bool, grace: int, age: int
    ) -> int:
        has, now = held.fields, self._now
        previous, until = has.get(b"_kp"), has.get(b"_kpx")
        if first and previous is not None and until is None:
            has[b"_kpx"] = _bytes(now + grace)
        elif previous is not None and until is not None and int(until) <= now:
            del has[b"_kp"], has[b"_kpx"]
            previous = None
        if mode == "rotate":
            has.pop(b"_kp", None)
            has.pop(b"_kpx", None)
        elif mode == "renew" and first and previous is None and now - int(has[b"_r"]) >= age:
            has[b"_kp"] = has[b"_k"]
        elif mode != "renew" or first or until is not None or now - int(has[b"_r"]) <= grace:
            return 0
        has[b"_k"], has[b"_r"] = fresh, _bytes(now)
        return 1

    def _unlink(self, key: str) -> int:
        return int(self._held.pop(key, None) is not None)

    def _exists(self, key: str) -> int:
        return int(self._find(key) is not None)

    def _facts(self, key: str) -> list[bytes | None]:
        held = self._find(key)
        return [None if held is None else held.fields.get(name.encode()) for name in FACTS]

    def _old(self, key: str) -> None:
        """Return nothing: no older store is in here."""

    def _retire(self, key: str) -> int:  # noqa: ARG002 - as `_old`
        return 0

    # Indexes ----------------------------------------------------------------------------------

    def _reserve(  # noqa: PLR0917 - the script's own order
        self, key: str, selector: str, lifetime: int, limit: int, refuse: int, pending: int,
        *dead: str,
    ) -> list[Any]:  # fmt: skip
        members, now = self._members(key, *dead), self._now
        mine = selector.encode()
        others = [one for one in members if one[:1] != b"+" and one != mine]
        if limit and len(others) >= limit and refuse:
            return [b"full", members]
        held = self._made(key)
        held.scores |= {mine: now + lifetime, b"+" + mine: now + pending}
        held.ends = max(held.ends, now + lifetime + pending)
        over = others[: max(len(others) - limit + 1, 0)] if limit else []
        return [b"ok", _epoch(held), over]

    def _settle(self, key: str, selector: str, epoch: bytes) -> int:
        held, mine = self._find(key), selector.encode()
        if held is None or _epoch(held) != epoch or mine not in held.scores:
            return 0
        held.scores.pop(b"+" + mine, None)
        return 1

    def _revoke(self, key: str, lifetime: int) -> list[bytes]:
        held = self._made(key)
        held.scores[b"epoch"] = held.scores.get(b"epoch", EPOCHS) + 1
        held.ends = max(held.ends, self._now + lifetime)
        return self._members(key)

    def _members(self, key: str, *dead: str) -> list[bytes]:
        held, now = self._find(key), self._now
        if held is None:
            return []
        held.scores = {one: score for one, score in held.scores.items() if score > now}
        for one in dead:
            if b"+" + one.encode() not in held.scores:
                held.scores.pop(one.encode(), None)
        if not held.scores:
            del self._held[key]
        ordered = sorted(held.scores.items(), key=lambda pair: (pair[1], pair[0]))
        return [one for one, score in ordered if score <= LATEST]

    def _drop(self, key: str, *members: str) -> int:
        held = self._find(key)
        if held is None:
            return 0
        count = sum(held.scores.pop(one.encode(), 0) > 0 for one in members)
        if not held.scores:
            del self._held[key]
        return count


class Detached:
    """A `Memory`, awaited; it never waits."""

    def __init__(self, memory: Memory) -> None:
        """Ask this one."""
        self._memory = memory

    async def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' outcomes, in order."""
        return self._memory.ask(calls)

    async def keys(self, pattern: str) -> AsyncIterator[list[str]]:
        """Yield the names of what is held."""
        for lot in self._memory.keys(pattern):
            yield lot


class Null(Memory):
    """`null://`: takes everything, and keeps nothing."""

    def ask(self, calls: Sequence[Call]) -> list[Any]:
        """Return what one would be told who asks for the first time, or of a good save."""
        made = [one for one in calls if one.op == "save"]
        replies = iter(Memory(self._clock).ask([one for one in calls if one.op != "save"]))
        ok = [b"ok", 1, 1]
        saved = [Acknowledged(ok, 0) if one.lasting else ok for one in made]
        after = iter(saved)
        out = [next(after) if one.op == "save" else next(replies) for one in calls]
        return [1 if one.op == "settle" else reply for one, reply in zip(calls, out, strict=True)]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _put(held: _Held, pairs: Sequence[Any]) -> None:
    words = [_bytes(word) for word in pairs]
    held.fields |= dict(zip(words[::2], words[1::2], strict=True))


def _apart(argv: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], dict[bytes, bytes | None]]:
    """Return a save's pairs, the names that go, and what has to be stored where."""
    pairs, gone, compared = argv[10:_HEAD]
    first, second = _HEAD + 2 * pairs, _HEAD + 2 * pairs + gone
    words = argv[second : second + 3 * compared]
    wanted = {
        _bytes(words[at]): words[at + 2] if words[at + 1] else None
        for at in range(0, len(words), 3)
    }
    return argv[_HEAD:first], argv[first:second], wanted


def _seen_before(has: dict[bytes, bytes], nonce: bytes, seen: bytes, left: int) -> list[Any] | None:
    """Return what a save is told that was sent before; None if it was not applied."""
    nonces = _nonces(has.get(b"_n", b""))
    if nonce in nonces:
        return [b"ok", 0, left]
    full = len(nonces) * NONCE_BYTES >= NONCES_BYTES
    return [b"unknown"] if full and seen not in nonces else None


def _nonces(joined: bytes) -> list[bytes]:
    return [joined[at : at + NONCE_BYTES] for at in range(0, len(joined), NONCE_BYTES)]


def _epoch(held: _Held) -> bytes:
    return b"%d" % held.scores.get(b"epoch", 0)
