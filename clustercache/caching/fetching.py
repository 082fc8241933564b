"""Plans that fetch: what is there, or what the function makes, once.

    look -- fresh ----------------------------------------> the value
         -- early, stale --> the old value; a refresh while nobody waits
         -- else ----> take the lease: granted ---> compute, fill
                                       changed ---> look at that
                                       held ------> wait until it is filled; look again
         -- nobody answers ---> compute, store nothing

A lease is granted to one, and its fill is refused once somebody else has written or unlinked the
key; so nothing that was computed from what was true before is stored after an invalidation.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from os import urandom
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from clustercache._limits import jitter
from clustercache.caching.calls import Call
from clustercache.caching.doings import Ask, Compute, Later, Look, Rest
from clustercache.caching.entries import NOTHING, TOKEN_BYTES, opened
from clustercache.caching.freshness import Verdict
from clustercache.caching.gate import SkippedError
from clustercache.caching.looking import TAG, Looking, Raised, Seen, again
from clustercache.caching.names import name_of
from clustercache.caching.near import MISSING
from clustercache.caching.turns import Turns
from clustercache.caching.values import settled
from clustercache.instrumentation import CacheComputed, CacheFailed, StaleServed

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache.caching.doings import Plan
    from clustercache.caching.layout import Layout
    from clustercache.caching.looking import Wanted
    from clustercache.caching.near import NearCache
    from clustercache.caching.settings import CacheSettings
    from clustercache.instrumentation import Event

_POLL: Final = (0.02, 0.1)
"""Seconds until the first look of whoever waits, and what the pauses grow to."""

_EARLY: Final = 0.25
"""The last part of a lease: what ends there may have ended because its holder died."""

_TAG_SPARE: Final = 3_600_000
"""Milliseconds that a tag's token outlives what depends on it."""


class Fetching(Looking):
    """The plans that fetch, of one cache."""

    def __init__(
        self,
        settings: CacheSettings,
        layout: Layout,
        near: NearCache | None,
        tell: Callable[[Event], None],
    ) -> None:
        """Fetch nothing yet."""
        super().__init__(layout, near)
        self.settings = settings
        self._tell = tell
        self._known: dict[str, bytes] = {}
        """Tokens as they were when one last heard of them."""
        self.turns = Turns()

    def turn_of(self, wanted: Wanted) -> tuple[Any, ...]:
        """Return what is the same for calls that may share one fetch of a value."""
        return (wanted.name, *self.turns.of(wanted.key))

    def fetch(self, wanted: Wanted, *, near: bool = True) -> Plan:
        """Return the value, or raise what the function raises.

        Raises:
            RedisError: Its server cannot be asked, and `on_error` is "raise".
        """
        (seen,) = yield from self.look((wanted,), near=near)
        if seen.error is not None:
            return (yield from self._without(wanted, seen.error))
        if seen.verdict is Verdict.FRESH:
            wanted.counters.far_hits()
            return given(seen.value, wanted)
        if seen.verdict in {Verdict.EARLY, Verdict.STALE}:
            yield Later(wanted.key, self._refreshing(wanted, seen))
            if seen.verdict is Verdict.STALE:
                return self._stale(seen.value, wanted)
            wanted.counters.far_hits()
            return given(seen.value, wanted)
        soft = wanted.recipe.soft_timeout
        if seen.value is not MISSING and soft is not None:
            value = yield Later(wanted.key, self._refreshing(wanted, seen), soft)
            if value is MISSING:
                return self._stale(seen.value, wanted)
            wanted.counters.misses()
            return value
        return (yield from self._lead(wanted, seen))

    def _refreshing(self, wanted: Wanted, seen: Seen) -> Callable[[], Plan]:
        """Return what begins a refresh, when its caller may have changed the arguments."""
        return partial(self.refresh, wanted._replace(make=settled(_maker(wanted))), seen)

    def refresh(self, wanted: Wanted, seen: Seen) -> Plan:
        """Make the value anew, unless somebody does; return it, or MISSING."""
        taken, token, seen = yield from self._take(wanted, seen)
        if isinstance(taken, RedisError) or taken[0] != 1:
            return MISSING
        return (yield from self._make(wanted, seen, token))

    def anew(self, wanted: Wanted) -> Plan:
        """Make the value anew at once, whoever else does; return it."""
        taken, token, seen = yield from self._take(wanted, self._unseen(wanted), force=True)
        if isinstance(taken, RedisError):
            return (yield from self._without(wanted, taken))
        value = yield from self._make(wanted, seen, token)
        self.turns.turn((wanted.key,))
        return value

    def _unseen(self, wanted: Wanted) -> Seen:
        return Seen(NOTHING, Verdict.EXPIRED, MISSING, None, dict.fromkeys(wanted.labels))

    # Leases -----------------------------------------------------------------------------------

    def _lead(self, wanted: Wanted, seen: Seen) -> Plan:
        """Get the lease and make the value, or wait for whoever has the lease."""
        until = monotonic() + wanted.recipe.wait
        was_given_up = False
        while True:
            lacked = None in seen.tokens.values()
            taken, token, seen = yield from self._take(wanted, seen)
            if isinstance(taken, RedisError):
                return (yield from self._without(wanted, taken))
            if taken[0] == 1 and lacked and _is_filled(seen):
                yield Ask([Call("release", wanted.key, (token,))])
            elif taken[0] == 1:
                wanted.counters.misses()
                return (yield from self._make(wanted, seen, token))
            elif taken[0] == 0:
                if was_given_up or monotonic() >= until:
                    # Whoever waited for one that stored nothing does not wait for the next.
                    return (yield from self.alone(wanted, seen.value))
                ends = monotonic() + taken[1] / 1000
                yield from self._rest(wanted, min(until, ends))
                was_given_up = monotonic() < ends - _EARLY * wanted.recipe.lease
            (seen,) = yield from self.look((wanted,))
            if seen.error is not None:
                return (yield from self._without(wanted, seen.error))
            if seen.verdict in {Verdict.FRESH, Verdict.EARLY}:
                wanted.counters.stampedes_avoided()
                return given(seen.value, wanted)

    def _take(self, wanted: Wanted, seen: Seen, *, force: bool = False) -> Plan:
        """Ask for the lease, and for the tokens as they are before the value is made.

        Return the reply, or the error; the lease's token; and what was seen, with all tokens.
        """
        token = urandom(TOKEN_BYTES)
        lease = int(wanted.recipe.lease * 1000)
        calls = [Call("take", wanted.key, (token, lease, seen.found.seen, int(force)))]
        lacking = [one for one in wanted.labels if seen.tokens[one] is None or one[:1] == TAG]
        calls += [self._token_call(wanted, label) for label in lacking]
        taken, *tokens = yield Ask(calls)
        error = next((one for one in (taken, *tokens) if isinstance(one, RedisError)), None)
        if error is not None:
            if not isinstance(taken, RedisError) and taken[0] == 1:
                yield Ask([Call("release", wanted.key, (token,))])
            return error, token, seen
        known = {**seen.tokens, **dict(zip(lacking, tokens, strict=True))}
        return taken, token, seen._replace(tokens=known)

    def _token_call(self, wanted: Wanted, label: str) -> Call:
        live: int | str = ""
        if label[:1] == TAG and wanted.recipe.tags_live is not None:
            live = wanted.recipe.tags_live + _TAG_SPARE
        return Call("token", self.token_key(wanted.key, label), (urandom(TOKEN_BYTES), live))

    def _rest(self, wanted: Wanted, until: float) -> Plan:
        """Wait until the lease is gone, or the time is up."""
        pause, longest = _POLL
        while (left := until - monotonic()) > 0:
            (reading,) = yield Look((wanted.key,))  # so that its change is heard of
            data = reading.data
            reading.close()
            if isinstance(data, RedisError) or not opened(data, wanted.recipe.envelopes).leased:
                return
            yield Rest(wanted.key, min(left, pause * (0.5 + jitter())))
            pause = min(pause * 2, longest)

    # Making -----------------------------------------------------------------------------------

    def _make(self, wanted: Wanted, seen: Seen, token: bytes) -> Plan:
        """Call the function under a lease, and fill; return what it returned."""
        recipe, began = wanted.recipe, monotonic()
        renew = (self.renewing(wanted, token),)
        release = Ask([Call("release", wanted.key, (token,))])
        try:
            value = yield Compute(_maker(wanted), recipe.lease, renew)
        except recipe.errors as error:
            kept = _raised(error, recipe.errors)
            with suppress(Exception):  # what cannot be stored is raised all the same
                if kept is None:
                    yield release
                else:
                    yield from self._fill(wanted, seen, token, kept, began)
            raise
        except Exception as error:
            self._failed(wanted, error, began)
            yield release
            if seen.value is MISSING or seen.verdict is not Verdict.ON_ERROR:
                raise
            return self._stale(seen.value, wanted)
        except GeneratorExit:
            raise
        except BaseException:  # whoever was stopped does not wait for the servers
            yield Later(f"release {wanted.key}", partial(asked, release))
            raise
        self._computed(wanted, began)
        yield from self._fill(wanted, seen, token, value, began)
        return value

    @staticmethod
    def renewing(wanted: Wanted, token: bytes) -> Call:
        """Return what renews a lease."""
        return Call("renew", wanted.key, (token, int(wanted.recipe.lease * 1000)))

    def _fill(self, wanted: Wanted, seen: Seen, token: bytes, value: Any, began: float) -> Plan:
        cost = int((monotonic() - began) * 1_000_000)
        try:
            sealed = self.sealed(wanted, value, seen.tokens, cost)
        except Exception:
            yield Ask([Call("release", wanted.key, (token,))])
            raise
        if sealed is None:
            yield Ask([Call("release", wanted.key, (token,))])
            return
        data, kept = sealed
        self.drop(wanted.key)
        (reply,) = yield Ask(
            [Call("fill", wanted.key, (token, data, "" if kept is None else kept))]
        )
        self.drop(wanted.key)
        if isinstance(reply, RedisError):
            self.failed("fill", reply)
            if self.settings.on_error == "raise":
                raise reply

    def sealed(
        self, wanted: Wanted, value: Any, tokens: dict[str, bytes], cost: int = 0
    ) -> tuple[bytes, int | None] | None:
        """Return a value's bytes and how many milliseconds they are kept; None: not at all.

        Raises:
            TypeError: The serializer cannot write it.
            ValueError: It is too large, or too deep.
        """
        recipe, raised = wanted.recipe, type(value) is Raised
        if recipe.cache_if is not None and not raised and not recipe.cache_if(value):
            return None
        life = recipe.freshness.lifetime(value, jitter)
        if life is None:
            return None
        until = None if life.fresh is None else int(time.time() * 1000) + life.fresh
        shown = [value.kind, list(value.args)] if raised else value
        # Of what was there before there may be others, which are not this one's.
        tags = {label: tokens[label] for label in wanted.labels}
        data = recipe.envelopes.seal(shown, fresh_until=until, cost=cost, tags=tags, raised=raised)
        return data, life.kept

    def drop(self, key: str) -> None:
        """Drop an own write from the near cache: before it is sent, and after its reply."""
        if self.near is not None:
            self.near.discard([key.encode()])

    # Without the servers ----------------------------------------------------------------------

    def _without(self, wanted: Wanted, error: RedisError) -> Plan:
        """Make the value, and store nothing: nobody who could keep it answers."""
        self.failed("read", error)
        if self.settings.on_error == "raise":
            raise error
        wanted.counters.skipped()
        return (yield from self._alone(wanted, self._recalled(wanted)))

    def alone(self, wanted: Wanted, old: Any = MISSING) -> Plan:
        """Make the value beside somebody who was waited for in vain, and store nothing."""
        wanted.counters.misses()
        return (yield from self._alone(wanted, old))

    def _alone(self, wanted: Wanted, old: Any) -> Plan:
        """Make the value, and store nothing; where that fails, serve the old one, if any."""
        began = monotonic()
        try:
            value = yield Compute(_maker(wanted))
        except Exception as error:
            self._failed(wanted, error, began)
            if old is MISSING:
                raise
            return self._stale(old, wanted)
        self._computed(wanted, began)
        return value

    def _computed(self, wanted: Wanted, began: float) -> None:
        seconds = monotonic() - began
        wanted.counters.computed(seconds)
        self._tell(CacheComputed(function=wanted.recipe.function, seconds=seconds))

    def _failed(self, wanted: Wanted, error: Exception, began: float) -> None:
        wanted.counters.errors()
        function, seconds, name = wanted.recipe.function, monotonic() - began, type(error).__name__
        self._tell(CacheComputed(function=function, seconds=seconds, error=name))

    def _stale(self, value: Any, wanted: Wanted) -> Any:
        wanted.counters.stale_served()
        self._tell(StaleServed(function=wanted.recipe.function))
        return given(value, wanted)

    def _recalled(self, wanted: Wanted) -> Any:
        """Return what was near once, and may be served where nothing better can be had."""
        spare = wanted.recipe.freshness.spare
        if self.near is None or not spare:
            return MISSING
        held = self.near.recall(wanted.name)
        return held[0] if held is not MISSING and held[1] < spare else MISSING

    def failed(self, what: str, error: RedisError) -> None:
        """Tell of an error that nobody else hears of, but of an outage only once in a while."""
        if not isinstance(error, SkippedError):
            self._tell(CacheFailed(command=what, error=type(error).__name__))


def given(value: Any, wanted: Wanted) -> Any:
    """Return a value that was stored, or raise the exception that was."""
    if type(value) is not Raised:
        return value
    raise again(value, wanted.recipe.errors)


def _raised(error: Exception, errors: tuple[type[Exception], ...]) -> Raised | None:
    """Return an exception as it is stored; None if it could not be raised again as it was."""
    kind = next(kind for kind in errors if isinstance(error, kind))
    raised = Raised(name_of(kind), error.args)
    try:
        other = again(raised, errors)
        is_same = other.args == error.args and (type(error) is not kind or _has(error, other))
    except Exception:  # noqa: BLE001 - it may take more than its arguments, or compare badly
        return None
    return raised if is_same else None


def _has(error: Exception, other: Exception) -> bool:
    """Tell whether an exception has the same attributes as another."""
    notes = "__notes__"
    mine, others = dict(vars(error)), dict(vars(other))
    mine.pop(notes, None)
    return mine == others


def _is_filled(seen: Seen) -> bool:
    """Tell whether a value is good for the tokens that came after it was read."""
    envelope = seen.found.envelope
    return envelope is not None and envelope.tags.items() <= seen.tokens.items()


def asked(ask: Ask) -> Plan:
    """Ask for something, and return the outcomes."""
    return (yield ask)


def _maker(wanted: Wanted) -> Callable[[], Any]:
    if wanted.make is None:
        raise TypeError("nothing can make this value")
    return wanted.make
