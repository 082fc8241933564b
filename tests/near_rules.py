"""The near cache's rules, each with what takes it out, to see whether anybody notices.

A rule is taken out without a copy of the code around it: what it compares is made equal, or what it
does is undone, so that the rest stays as it is. `without` does it for whatever is made inside.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from functools import partial
from time import monotonic
from unittest.mock import patch

from clustercache._core import tracking
from clustercache._core.tracking import Coherence
from clustercache._core.vouching import Entry, Token
from clustercache._core.wire import ServerError
from clustercache.caching import talk
from clustercache.caching.near import NearCache
from clustercache.caching.reading import Reading

RULES = {}


@contextmanager
def without(rule):
    """Take out a rule, by name."""
    with ExitStack() as stack:
        for change in RULES[rule]():
            stack.enter_context(change)
        yield


def _rule(name):
    def keep(changes):
        RULES[name] = changes
        return changes

    return keep


def _instead(cls, method, make):
    """Put `make(the real one)` in a method's place."""
    return patch.object(cls, method, make(getattr(cls, method)))


def _always(value):
    return property(lambda _: value, lambda *_: None)


class _Equal:
    __hash__ = None

    def __eq__(self, other):
        return True


def _with(base, **members):
    """Put a subclass in a class's place that has other members."""
    return patch.object(tracking, base.__name__, type(base.__name__, (base,), members))


# A hit checks -------------------------------------------------------------------------------


@_rule("hit: the source's epoch")
def _():
    return [_with(Entry, source_epoch=_always(_Equal()))]


@_rule("hit: the slot's epoch")
def _():
    return [_with(Entry, slot_epoch=_always(_Equal()))]


@_rule("hit: the silence")
def _():
    def make(real):
        def hit(self, name, now):
            usual, self.max_silence = self.max_silence, math.inf
            try:
                return real(self, name, now)
            finally:
                self.max_silence = usual

        return hit

    return [_instead(Coherence, "hit", make)]


@_rule("hit: until when")
def _():
    return [_with(Entry, until=_always(math.inf))]


@_rule("hit: what it depends on")
def _():
    return [_with(Entry, depends=_always(()))]


# A fill checks ------------------------------------------------------------------------------


@_rule("fill: the token")
def _():
    return [patch.object(Coherence, "stands", lambda self, token: self._unmoved(token))]


@_rule("fill: the epochs")
def _():
    def stands(self, token):
        return self._inflight.get(token.key) is token

    return [patch.object(Coherence, "stands", stands)]


@_rule("claim: the source's epoch before the read")
def _():
    now = property(lambda token: token.source.epoch, lambda *_: None)
    return [_with(Token, source_epoch=now)]


@_rule("claim: the slot's epoch before the read")
def _():
    def make(real):
        def fill(self, token, *args, **options):
            token.slot_epoch = self._slot_epochs[token.slot]
            return real(self, token, *args, **options)

        return fill

    return [_instead(Coherence, "fill", make)]


@_rule("fill: its life begins before the read")
def _():
    def make(real):
        def fill(self, token, value, now, **options):
            token.began = now
            return real(self, token, value, now, **options)

        return fill

    return [_instead(Coherence, "fill", make)]


@_rule("fill: an absence is kept for a second")
def _():
    return [patch.object(tracking, "ABSENT", math.inf)]


@_rule("fill: max_staleness")
def _():
    def make(real):
        def fill(self, *args, **options):
            self.max_staleness = math.inf
            return real(self, *args, **options)

        return fill

    return [_instead(Coherence, "fill", make)]


@_rule("fill: what was not tracked is not kept")
def _():
    def make(real):
        def take(self, reply):
            refused = self._allowed is None and isinstance(reply, ServerError)
            real(self, b"OK" if refused else reply)

        return take

    return [_instead(Reading, "take", make)]


# What happens -------------------------------------------------------------------------------


@_rule("void: entries")
def _():
    def void(self, keys):
        for key in keys:
            self._inflight.pop(key, None)

    return [patch.object(Coherence, "void", void)]


@_rule("void: under every name")
def _():
    def void(self, keys):
        for key in keys:
            self._inflight.pop(key, None)
            self.entries.pop(key, None)

    return [patch.object(Coherence, "void", void)]


@_rule("void: tokens")
def _():
    def make(real):
        def void(self, keys):
            before = dict(self._inflight)
            real(self, keys)
            self._inflight = before

        return void

    return [_instead(Coherence, "void", make)]


def _nothing(method):
    def change():
        return [patch.object(Coherence, method, lambda *_, **__: None)]

    return change


for event in ("flushed", "lost", "moved", "followed"):
    _rule(event)(_nothing(event))


def _beat_without(field):
    def make(real):
        def beat(self, source, health):
            known = True if field == "serving" else getattr(source, field)
            return real(self, source, health._replace(**{field: known}))

        return beat

    return [_instead(Coherence, "beat", make)]


for what in ("slots", "config_epoch", "serving"):
    _rule(f"beat: {what}")(partial(_beat_without, what))


@_rule("pong: counts from when the PING was sent")
def _():
    def make(real):
        return lambda questions, replies, _: real(questions, replies, monotonic())

    return [patch.object(talk, "health_of", make(talk.health_of))]


@_rule("redirect: the token")
def _():
    return [patch.object(Coherence, "_void_token", lambda *_: None)]


@_rule("redirect: MOVED moves the slot")
def _():
    def make(real):
        return lambda self, token, *, moved: real(self, token, moved=False)

    return [_instead(Coherence, "redirected", make)]


@_rule("clear: reads under way")
def _():
    def make(real):
        def void_all(self):
            real(self)
            self.epoch -= 1

        return void_all

    return [_instead(Coherence, "void_all", make)]


def _own_write_without(turn):
    """Let every second `discard` of a key be none: the one before a write, or the one behind."""

    def make(real):
        turns = {}

        def discard(self, keys):
            keys = list(keys)
            for key in keys:
                turns[key] = turns.get(key, -1) + 1
            real(self, [key for key in keys if turns[key] % 2 != turn])

        return discard

    return [_instead(NearCache, "discard", make)]


_rule("own write: before it is sent")(partial(_own_write_without, 0))
_rule("own write: behind its reply")(partial(_own_write_without, 1))
