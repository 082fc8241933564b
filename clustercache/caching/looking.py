"""Plans that read: values with the tokens that they depend on, judged, and kept near.

A value and its tokens are read together, each at its primary. An entry is good while each of its
tags still has the token that it had before the value was computed; a token that is not there is
good for nothing. What is good is kept near under the call's near key, for as long as it is fresh,
and depends there on its tokens, which are kept near as well.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import RedisError

from clustercache._limits import jitter
from clustercache._values.undecodable import Undecodable
from clustercache.caching.doings import Look
from clustercache.caching.entries import Found, opened
from clustercache.caching.freshness import Verdict
from clustercache.caching.names import name_of
from clustercache.caching.near import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Sequence

    from clustercache.caching.doings import Doing
    from clustercache.caching.envelope import Envelope, Envelopes
    from clustercache.caching.layout import Layout
    from clustercache.caching.near import NearCache
    from clustercache.caching.reading import Reading
    from clustercache.caching.settings import Recipe
    from clustercache.caching.stats import Counters

NAMESPACE: Final = ""
FUNCTION: Final = "f"
TAG: Final = "t"
"""Labels, or what they begin with: an envelope's names for what a value depends on."""


class Wanted(NamedTuple):
    """One value that is wanted.

    Attributes:
        key: The server's key.
        name: The near cache's.
        labels: What it depends on, the namespace first.
        recipe: How it is made and judged.
        counters: Who counts.
        make: Makes it.
    """

    key: str
    name: Hashable
    labels: tuple[str, ...]
    recipe: Recipe
    counters: Counters
    make: Callable[[], Any] | None = None


class Seen(NamedTuple):
    """What was read, and what it is good for.

    Attributes:
        found: What the key held.
        verdict: What the value is good for; EXPIRED where there is none.
        value: The value, or MISSING.
        error: Why nothing is known.
        tokens: What it depends on, as read: None where there is no token.
    """

    found: Found
    verdict: Verdict
    value: Any
    error: RedisError | None
    tokens: dict[str, Any]


_NO_TAGS: Final[dict[str, bytes]] = {}


class Looking:
    """The plans that read, of one cache.

    Attributes:
        layout: The keys.
        near: What is kept in the process, or None.
    """

    def __init__(self, layout: Layout, near: NearCache | None) -> None:
        """Read nothing yet."""
        self.layout = layout
        self.near = near

    def token_key(self, key: str, label: str) -> str:
        """Return the key of the token that a label of a value stands for."""
        return self._token_keys(key, (label,))[label]

    def _token_keys(self, key: str, labels: Sequence[str]) -> dict[str, str]:
        """Return the keys of the tokens that a value's labels stand for."""
        layout, bucket = self.layout, self.layout.bucket(key)
        return {
            label: layout.tag(label[1:]) if label[:1] == TAG else layout.owner(bucket, label[1:])
            for label in labels
        }

    def look(
        self, wanted: Sequence[Wanted], *, near: bool = True
    ) -> Generator[Doing, Any, list[Seen]]:
        """Read values; `Seen`s come back, in order.

        Args:
            wanted: Which ones.
            near: Whether they may be kept near, and tokens taken from there.
        """
        tokens: dict[str, Any] = {}
        labelled = [self._token_keys(one.key, one.labels) for one in wanted]
        asked = self._unknown(labelled, tokens, near=near)
        readings = yield Look([*(one.key for one in wanted), *asked], near)
        try:
            self._learn(readings[len(wanted) :], asked, tokens)
            founds = [_found(one, reading) for one, reading in zip(wanted, readings)]  # noqa: B905 - tokens follow
            more = self._further(wanted, founds, labelled, tokens, near=near)
            if more:
                further = yield Look(more, near)
                readings.extend(further)
                self._learn(further, more, tokens)
            now = int(time.time() * 1000)
            rows = zip(wanted, readings, founds, labelled)  # noqa: B905 - tokens follow
            return [self._judged(*row, tokens, now) for row in rows]
        finally:
            for reading in readings:
                reading.close()

    def _unknown(
        self, labelled: Sequence[dict[str, str]], tokens: dict[str, Any], *, near: bool
    ) -> list[str]:
        """Return the token keys that have to be read, and fill in those that are near."""
        asked = []
        for labels in labelled:
            for key in labels.values():
                if key not in tokens:
                    held = self.near.get(key) if near and self.near is not None else MISSING
                    tokens[key] = held
                    if held is MISSING:
                        asked.append(key)
        return asked

    def _further(
        self,
        wanted: Sequence[Wanted],
        founds: Sequence[Found],
        labelled: Sequence[dict[str, str]],
        tokens: dict[str, Any],
        *,
        near: bool,
    ) -> list[str]:
        """Return the keys of further tokens, of tags that only the entries know of."""
        has_more = False
        for one, found, labels in zip(wanted, founds, labelled, strict=True):
            if found.envelope is not None and found.envelope.tags.keys() != labels.keys():
                for label in found.envelope.tags:
                    if label not in labels:
                        labels[label] = self.token_key(one.key, label)
                        has_more = True
        return self._unknown(labelled, tokens, near=near) if has_more else []

    @staticmethod
    def _learn(readings: Sequence[Reading], keys: Sequence[str], tokens: dict[str, Any]) -> None:
        for key, reading in zip(keys, readings, strict=True):
            tokens[key] = reading.data
            if reading.data is not None:
                reading.keep(reading.data, name=key)

    def _judged(  # noqa: PLR0917 - a row of what was read, and what it is judged by
        self,
        one: Wanted,
        reading: Reading,
        found: Found,
        labels: dict[str, str],
        by_key: dict[str, Any],
        now: int,
    ) -> Seen:
        envelope, verdict, value = found.envelope, Verdict.EXPIRED, MISSING
        error = reading.data if isinstance(reading.data, RedisError) else None
        tags = _NO_TAGS if envelope is None else envelope.tags
        is_valid, tokens = envelope is not None, {}
        for label, key in labels.items():
            token = tokens[label] = by_key[key]
            if token is None or tags.get(label) != token:
                is_valid = False
                if isinstance(token, RedisError):
                    error = token
        if not is_valid or envelope is None:
            return Seen(found, verdict, value, error, tokens)
        recipe = one.recipe
        verdict = recipe.freshness.verdict(envelope.fresh_until, envelope.cost, now, jitter)
        if verdict is not Verdict.EXPIRED:
            try:
                value = decoded(envelope, recipe)
            except Undecodable:
                verdict = Verdict.EXPIRED
            else:
                if envelope.cost:
                    one.counters.saw_cost(envelope.cost)
                if reading.token is not None and verdict is Verdict.FRESH and not envelope.raised:
                    depends = tuple([(key, by_key[key]) for key in labels.values()])
                    self._keep(one, reading, envelope, value, depends)
        return Seen(found, verdict, value, error, tokens)

    @staticmethod
    def _keep(
        one: Wanted,
        reading: Reading,
        envelope: Envelope,
        value: Any,
        depends: tuple[tuple[str, bytes], ...],
    ) -> None:
        ttl = math.inf
        if envelope.fresh_until is not None:
            # Drawn once for all hits to come: it ends where one of them would refresh it early.
            early = one.recipe.freshness.ahead(envelope.cost, jitter)
            ttl = (envelope.fresh_until - early) / 1000 - time.time()
        reading.keep(
            value,
            ttl=ttl,
            name=one.name,
            decode=partial(decode, one.recipe.envelopes),
            depends=depends,
            cost=envelope.cost,
        )


class Raised(NamedTuple):
    """An exception as it is stored: the name of its type, and its arguments."""

    kind: str
    args: tuple[Any, ...]


def decoded(envelope: Envelope, recipe: Recipe) -> Any:
    """Return the value in an envelope, or a `Raised` of an exception that is expected."""
    value = recipe.envelopes.value(envelope)
    if not envelope.raised:
        return value
    try:
        kind, args = value
        raised = Raised(str(kind), tuple(args))
    except (TypeError, ValueError):
        raise Undecodable("it is no exception") from None
    try:
        again(raised, recipe.errors)
    except Exception:  # noqa: BLE001 - classes may refuse anything
        raise Undecodable("it is no exception that is expected here") from None
    return raised


def again(raised: Raised, errors: Iterable[type[Exception]]) -> Exception:
    """Return an exception that was stored, of that of the classes that has its name."""
    kind = next(kind for kind in errors if name_of(kind) == raised.kind)
    return kind(*raised.args)


def decode(envelopes: Envelopes, data: bytes) -> Any:
    """Return the value in what was read once already."""
    envelope = opened(data, envelopes).envelope
    if envelope is None:
        raise Undecodable("it was read once, and cannot be now")
    return envelopes.value(envelope)


def _found(one: Wanted, reading: Reading) -> Found:
    data = reading.data
    return opened(None if isinstance(data, RedisError) else data, one.recipe.envelopes)
