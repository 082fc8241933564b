"""Plans that fetch many values at a time: one batch to each node, and one call for the misses."""

from __future__ import annotations

from functools import partial
from os import urandom
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from redis.exceptions import RedisError

from clustercache.caching.calls import Call
from clustercache.caching.doings import Ask, Compute, Later
from clustercache.caching.entries import TOKEN_BYTES
from clustercache.caching.fetching import Fetching
from clustercache.caching.freshness import Verdict
from clustercache.caching.looking import TAG, Seen, Wanted
from clustercache.caching.near import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clustercache.caching.doings import Plan

Grant: TypeAlias = tuple[bytes, dict[str, bytes]]
"""A lease's token, and the tokens that there were when it was granted."""


class FetchingMany(Fetching):
    """The plans that fetch, of one cache: one value or many."""

    def fetch_many(
        self, wanted: Sequence[Wanted], make: Callable[[list[int]], Any], *, near: bool = True
    ) -> Plan:
        """Return values in order, MISSING where the function has none; it is called once at most.

        Args:
            wanted: Which ones.
            make: Takes the indices of those to make; its result has the values by index.
            near: Whether they may be taken from near, and kept there.
        """
        looked = yield from self.look(wanted, near=near)
        values = [MISSING] * len(wanted)
        lacking = []
        for at, (one, seen) in enumerate(zip(wanted, looked, strict=True)):
            if seen.error is not None:
                self.failed("read", seen.error)
                if self.settings.on_error == "raise":
                    raise seen.error
            if seen.verdict in {Verdict.FRESH, Verdict.EARLY} and seen.error is None:
                one.counters.far_hits()
                values[at] = seen.value
            else:
                lacking.append(at)
        if lacking:
            made = yield from self._make_many(wanted, looked, lacking, make)
            for at, value in made.items():
                values[at] = value
        return values

    def _make_many(
        self,
        wanted: Sequence[Wanted],
        looked: Sequence[Seen],
        lacking: list[int],
        make: Callable[[list[int]], Any],
    ) -> Plan:
        """Make what is lacking; fill those whose lease was granted."""
        granted = yield from self._take_many(wanted, looked, lacking)
        began = monotonic()
        try:
            renew = [self.renewing(wanted[at], grant[0]) for at, grant in granted.items()]
            made = yield Compute(partial(make, lacking), wanted[0].recipe.lease, renew)
        except Exception as error:
            self._failed(wanted[0], error, began)
            yield from self._release(wanted, granted)
            raise
        except GeneratorExit:
            raise
        except BaseException:  # whoever was stopped does not wait for the servers
            yield Later(f"release {wanted[0].key}", partial(self._release, wanted, granted))
            raise
        self._computed(wanted[0], began)
        cost = int((monotonic() - began) * 1_000_000 / len(lacking))
        try:
            calls = [
                self._filling(wanted[at], made.get(at, MISSING), grant, cost)
                for at, grant in granted.items()
            ]
        except Exception:
            yield from self._release(wanted, granted)
            raise
        for call in calls:
            self.drop(call.key)
        replies = (yield Ask(calls)) if calls else []
        for call, reply in zip(calls, replies, strict=True):
            self.drop(call.key)
            if isinstance(reply, RedisError):
                self.failed("fill", reply)
                if self.settings.on_error == "raise":
                    raise reply
        return made

    def _filling(self, one: Wanted, value: Any, grant: Grant, cost: int) -> Call:
        """Return what fills a value, or gives its lease back where there is nothing to store."""
        token, tokens = grant
        sealed = None if value is MISSING else self.sealed(one, value, tokens, cost)
        if sealed is None:
            return Call("release", one.key, (token,))
        data, kept = sealed
        return Call("fill", one.key, (token, data, "" if kept is None else kept))

    @staticmethod
    def _release(wanted: Sequence[Wanted], granted: Mapping[int, Grant]) -> Plan:
        if granted:
            yield Ask(
                [Call("release", wanted[at].key, (grant[0],)) for at, grant in granted.items()]
            )

    def _take_many(
        self, wanted: Sequence[Wanted], looked: Sequence[Seen], lacking: list[int]
    ) -> Plan:
        """Return by index the leases that were granted, with the tokens of that moment."""
        able = [at for at in lacking if looked[at].error is None]
        takes, labelled = [], []
        token_calls: dict[str, Call] = {}
        for at in able:
            one, seen = wanted[at], looked[at]
            lease = (urandom(TOKEN_BYTES), int(one.recipe.lease * 1000), seen.found.seen, 0)
            takes.append(Call("take", one.key, lease))
            lacks = {}
            for label in one.labels:
                if seen.tokens[label] is None or label[:1] == TAG:
                    call = self._token_call(one, label)
                    lacks[label] = token_calls.setdefault(call.key, call).key
            labelled.append(lacks)
        calls = [*takes, *token_calls.values()]
        replies = (yield Ask(calls)) if calls else []
        tokens = dict(zip(token_calls, replies[len(takes) :], strict=True))
        granted: dict[int, Grant] = {}
        wanted[0].counters.misses(len(lacking))
        for at, take, reply, lacks in zip(able, takes, replies, labelled):  # noqa: B905 - tokens follow
            held = {**looked[at].tokens, **{label: tokens[key] for label, key in lacks.items()}}
            broken = any(isinstance(one, RedisError) for one in (reply, *held.values()))
            if not broken and reply[0] == 1:
                granted[at] = take.args[0], held
        return granted
