"""Plans of what is done to one's own keys: set, add, delete, touch, incr, and the like.

A value depends on its namespace's token, so to store one takes to know the token. The one that is
remembered is taken, and the true one is asked for in the same batch as the write: where they
differ, as after a `clear` somewhere else, the value is written again with the true one.
"""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from clustercache._limits import jitter
from clustercache.caching.calls import Call
from clustercache.caching.doings import Ask
from clustercache.caching.entries import TOKEN_BYTES
from clustercache.caching.envelope import until_changed
from clustercache.caching.looking import NAMESPACE, TAG
from clustercache.caching.many import FetchingMany
from clustercache.caching.near import MISSING
from clustercache.exceptions import OutcomeUnknownError, PartialError
from clustercache.instrumentation import CacheInvalidated

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from clustercache.caching.doings import Doing, Plan
    from clustercache.caching.looking import Seen, Wanted

_REMEMBERED: Final = 10_000
_CHANGING: Final = "others change this key all the time; nothing was changed"
_LOSSES: Final = 2
"""Replies in a row that may be lost."""

_TRIES: Final = 16
"""Writes that find the key changed since they read it; each of these was somebody's success."""


class Direct(FetchingMany):
    """All plans of one cache."""

    # Reads ------------------------------------------------------------------------------------

    def found(self, wanted: Sequence[Wanted], *, near: bool = True) -> Plan:
        """Return the values that are there, in order; MISSING for those that are not."""
        looked = yield from self.look(wanted, near=near)
        values = []
        for one, seen in zip(wanted, looked, strict=True):
            if seen.error is not None:
                self.failed("read", seen.error)
                if self.settings.on_error == "raise":
                    raise seen.error
            is_there = seen.error is None and seen.value is not MISSING
            (one.counters.far_hits if is_there else one.counters.misses)()
            values.append(seen.value if is_there else MISSING)
        return values

    def left(self, wanted: Wanted) -> Plan:
        """Return the milliseconds that a value is still kept; -1 for ever, -2 for no value."""
        (seen,) = yield from self.look((wanted,), near=False)
        if seen.error is not None:
            raise seen.error
        if seen.value is MISSING:
            return -2
        (reply,) = yield Ask([Call("ttl", wanted.key)])
        return _reply(reply)

    # Writes -----------------------------------------------------------------------------------

    def store(self, values: Mapping[Wanted, Any]) -> Plan:
        """Store values; return for each key that failed its error.

        Raises:
            TypeError: The serializer cannot write one; nothing was sent.
            ValueError: One is too large, or too deep; nothing was sent.
        """
        pending, failed = dict(values), {}
        for tried in range(_TRIES):
            guesses, fresh = self._guesses(pending)
            calls = [self._writing(one, value, guesses) for one, value in pending.items()]
            calls += [self._asking(one, label, fresh) for one, label in self._once_each(pending)]
            self._drop_all(pending)
            replies = yield Ask(calls)
            self._drop_all(pending)
            self.turns.turn(one.key for one in pending)
            count = len(pending)
            true = self._remember(calls[count:], replies[count:])
            again = {}
            for (one, value), reply in zip(pending.items(), replies[:count], strict=True):
                tokens = [true[self.token_key(one.key, label)] for label in one.labels]
                error = next((e for e in (reply, *tokens) if isinstance(e, RedisError)), None)
                if isinstance(error, OutcomeUnknownError) and tried < _LOSSES:
                    again[one] = value  # a token was asked for, and its reply lost: ask anew
                elif error is not None:
                    failed[one.key] = error
                elif any(guesses[key] != true[key] for key in self._keys(one)):
                    again[one] = value
            if not again:
                return failed
            pending = again
        return failed | {one.key: RedisError(_CHANGING) for one in pending}

    def _keys(self, one: Wanted) -> list[str]:
        return [self.token_key(one.key, label) for label in one.labels]

    def _once_each(self, wanted: Mapping[Wanted, Any]) -> list[tuple[Wanted, str]]:
        """Return each token once, as a value that depends on it and its label."""
        found = {
            self.token_key(one.key, label): (one, label) for one in wanted for label in one.labels
        }
        return list(found.values())

    def _guesses(self, wanted: Mapping[Wanted, Any]) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the tokens that are remembered, or may become the true ones; and the latter."""
        found: dict[str, bytes] = {}
        fresh: dict[str, bytes] = {}
        for one in wanted:
            for key in self._keys(one):
                if key not in found:
                    known = self._known.get(key)
                    if known is None:
                        known = fresh[key] = urandom(TOKEN_BYTES)
                    found[key] = known
        return found, fresh

    def _asking(self, one: Wanted, label: str, fresh: Mapping[str, bytes]) -> Call:
        """Return what asks for a token, and leaves the one that was guessed if there is none.

        Never one that was good before, though it was forgotten since it was guessed: that would
        bring back all that it was unlinked for.
        """
        call = self._token_call(one, label)
        guess = fresh.get(call.key)
        return call if guess is None else call._replace(args=(guess, call.args[1]))

    def _writing(self, one: Wanted, value: Any, tokens: Mapping[str, bytes]) -> Call:
        labelled = {label: tokens[self.token_key(one.key, label)] for label in one.labels}
        sealed = self.sealed(one, value, labelled)
        if sealed is None:
            return Call("unlink", one.key)
        return Call("set", one.key, sealed)

    def _remember(self, calls: Sequence[Call], replies: Sequence[Any]) -> dict[str, Any]:
        true = {call.key: reply for call, reply in zip(calls, replies, strict=True)}
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        self._known.update({k: v for k, v in true.items() if not isinstance(v, RedisError)})
        return true

    def add(self, wanted: Wanted, value: Any) -> Plan:
        """Store a value if there is none; tell whether it was stored."""

        def change(seen: Seen, tokens: dict[str, bytes]) -> tuple[bytes, int | None] | None:
            return self.sealed(wanted, value, tokens) if seen.value is MISSING else None

        return (yield from self._changed(wanted, change)) is not None

    def touch(self, wanted: Wanted) -> Plan:
        """Let a value that is there live as long as a new one; tell whether it is there."""

        def change(seen: Seen, _: dict[str, bytes]) -> tuple[bytes, int | None] | None:
            if seen.value is MISSING or seen.found.stored is None:
                return None
            life = wanted.recipe.freshness.lifetime(seen.value, jitter)
            if life is None:
                return None
            until = None if life.fresh is None else int(time.time() * 1000) + life.fresh
            return until_changed(seen.found.stored, until), life.kept

        return (yield from self._changed(wanted, change)) is not None

    def count(self, wanted: Wanted, delta: int) -> Plan:
        """Add to an integer; return the sum.

        Raises:
            KeyError: It is not there.
            TypeError: It is no integer of 64 bits.
        """
        key = self.token_key(wanted.key, NAMESPACE)
        guess = self._known.get(key)
        if guess is not None:
            self.drop(wanted.key)
            asking = self._token_call(wanted, NAMESPACE)
            reply, true = yield Ask([Call("incr", wanted.key, (guess, delta)), asking])
            self.drop(wanted.key)
            self._remember([asking], [true])
            if _reply(reply) is not None:
                if _reply(true) != guess:
                    raise KeyError("there is no such key in the cache")
                return int(reply)

        def change(seen: Seen, tokens: dict[str, bytes]) -> tuple[bytes, int | None] | None:
            self._known[key] = tokens[NAMESPACE]
            if seen.value is MISSING:
                return None
            if type(seen.value) is not int:
                raise TypeError(f"incr counts integers, and this is a {type(seen.value).__name__}")
            envelope = seen.found.envelope
            assert envelope is not None  # noqa: S101 - what has a value has one
            until = envelope.fresh_until
            left = None if until is None else max(1, until - int(time.time() * 1000))
            data = wanted.recipe.envelopes.seal(
                seen.value + delta, fresh_until=until, tags=envelope.tags
            )
            counted.append(seen.value + delta)
            return data, left

        counted: list[int] = []
        if (yield from self._changed(wanted, change)) is None:
            raise KeyError("there is no such key in the cache")
        return counted[-1]

    def _changed(self, wanted: Wanted, change: Any) -> Generator[Doing, Any, bytes | None]:
        """Replace what is there by what is made of it; return that, or None where that is None."""
        for _ in range(_TRIES):
            (seen,) = yield from self.look((wanted,), near=False)
            if seen.error is not None:
                raise seen.error
            # Tags' tokens are to live as long as what depends on them will.
            labels = wanted.labels if seen.value is MISSING else seen.tokens
            lacking = [one for one in labels if seen.tokens[one] is None or one[:1] == TAG]
            asked = [self._token_call(wanted, label) for label in lacking]
            replies = (yield Ask(asked)) if asked else []
            new = {label: _reply(reply) for label, reply in zip(lacking, replies, strict=True)}
            changed = change(seen, {**seen.tokens, **new})
            if changed is None:
                return None
            data, kept = changed
            px: int | str = "" if kept is None else kept
            self.drop(wanted.key)
            (reply,) = yield Ask([Call("swap", wanted.key, (seen.found.seen, data, px))])
            self.drop(wanted.key)
            self.turns.turn((wanted.key,))
            if _reply(reply):
                result: bytes = data
                return result
        raise RedisError(_CHANGING)

    # Ends -------------------------------------------------------------------------------------

    def unlink(self, keys: Sequence[str], kind: str) -> Plan:
        """Unlink keys, of values or tokens; return how many were there.

        Raises:
            RedisError: A server did not confirm it.
            PartialError: Some did, and some did not.
        """
        named = [key.encode() for key in keys]
        if self.near is not None:
            self.near.discard(named)
        replies = (yield Ask([Call("unlink", key) for key in keys], sure=True)) if keys else []
        if self.near is not None:
            self.near.discard(named)
        if kind == "keys":
            self.turns.turn(keys)
        else:
            self.turns.turn_all()
        errors = [one for one in replies if isinstance(one, RedisError)]
        if errors and len(errors) == len(keys):
            raise errors[0]
        if errors:
            msg = f"{len(errors)} of {len(keys)} were not unlinked: old values may be served"
            raise PartialError(msg, dict(zip(keys, replies, strict=True)), command="UNLINK")
        for key in keys:
            self._known.pop(key, None)
        count = sum(replies)
        self._tell(CacheInvalidated(what=kind, count=count))
        return count

    def _drop_all(self, wanted: Mapping[Wanted, Any]) -> None:
        if self.near is not None:
            self.near.discard([one.key.encode() for one in wanted])


def tag_labels(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of tags."""
    return tuple(TAG + tag for tag in dict.fromkeys(tags))


def _reply(outcome: Any) -> Any:
    if isinstance(outcome, RedisError):
        raise outcome
    return outcome
