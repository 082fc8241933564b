"""What a near cache may still serve: coherence by server-assisted tracking, as a state.

A `Source` is one tracking connection to one primary. Cached keys are read on it, and it hears their
invalidations, so that the order of what comes on it closes the race between the two. Nobody ever
says that an entry is still true; so each remembers the epochs that it was read under, and is served
only while none of them has moved and its source was heard of a short while ago:

    hit(name)       no epoch moved, now < until, now - last_pong < max_silence; the same for each
                    name that the entry depends on, which has to have the value that it had
    recall(name)    what is held and may not be served, and for how long it may have been untrue
    claim(key)      before the read is sent: a token, with the epochs as they are
    fill(token)     after the reply: kept only where the token still stands and no epoch moved
    void(keys)      an invalidation, from whichever source, or an own write: entries and tokens go
    flushed         an invalidation of everything (FLUSHALL): the source's epoch moves
    lost            the connection is: its epoch moves; it is tracked anew before it serves
    beat            a PONG certifies what was pushed before it, from when the PING was SENT
    moved           each slot that changed hands: its epoch moves
    void_all        a `clear`, or a fork: entries go, and the epoch of all reads moves

A read that is answered with a redirect, or not at all, loses its token: what is served in its stead
came from somewhere that will not tell when it changes.

What was invalidated, flushed or discarded is never recalled; what became doubtful, because its
source was lost or its slot moved, is. A flush is of everything doubtful, too: the node that was
emptied may hold those keys by now.

An absent key is kept for `ABSENT` seconds at the most: after its slot has moved nothing is pushed
for it, on any server.

Source: the Redis reference, "Client-side caching"; R. Nishtala et al., "Scaling Memcache at
Facebook", NSDI'13, for tokens that an invalidation voids.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._core.owners import changed, owners_of, primaries_of
from clustercache._core.slots import SLOT_COUNT
from clustercache._core.vouching import Entry, Token
from clustercache._core.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from clustercache._core.topology import Topology
    from clustercache._core.vouching import Depends, Health, Source

ABSENT = 1.0
"""Seconds that a key's absence is kept."""


class Entries(Protocol):
    """Where entries are kept; it may drop what it likes, and says so to `Coherence.evicted`."""

    def __getitem__(self, name: Hashable, /) -> Entry:
        """Return an entry, or raise KeyError."""

    def __setitem__(self, name: Hashable, entry: Entry, /) -> None:
        """Keep an entry."""

    def pop(self, name: Hashable, default: None, /) -> Entry | None:
        """Drop and return an entry, if there is one."""

    def clear(self) -> None:
        """Drop all."""


class Coherence:
    """The state of one process's near cache. Not thread-safe: its owner has a lock.

    Attributes:
        watches: Who is to be woken when a key is void.
    """

    __slots__ = ("_inflight", "_names", "_slot_epochs", "entries", "epoch", "flushes",
                 "max_silence", "max_staleness", "watches")  # fmt: skip

    def __init__(self, entries: Entries, *, max_silence: float, max_staleness: float) -> None:
        """Begin with nothing.

        Args:
            entries: Where entries are kept.
            max_silence: Seconds after an answered PING was sent in which its source is believed.
            max_staleness: Seconds that an entry is kept at the most, whatever is heard.
        """
        self.entries = entries
        self.max_silence = max_silence
        self.max_staleness = max_staleness
        self.epoch = self.flushes = 0
        self.watches = Watches()
        self._slot_epochs = [0] * SLOT_COUNT
        self._inflight: dict[bytes, Token] = {}
        self._names: dict[bytes, dict[Hashable, None]] = {}

    # Readers ----------------------------------------------------------------------------------

    def hit(self, name: Hashable, now: float) -> Entry | None:
        """Return an entry that may be served at `now` (monotonic seconds), if there is one.

        What may not be served stays, for those who would rather have old values than none.
        """
        try:
            entry = self.entries[name]
        except KeyError:
            return None
        source = entry.source
        if (
            now < entry.until
            and entry.source_epoch == source.epoch
            and now - source.pong < self.max_silence
            and entry.slot_epoch == self._slot_epochs[entry.slot]
        ):
            for needed, value in entry.depends:
                other = self.hit(needed, now)
                if other is None or other.value != value:
                    return None
            return entry
        return None

    def recall(self, name: Hashable, now: float) -> tuple[Entry, float] | None:
        """Return what is held, and for how many seconds it may have been untrue: 0.0 if it is true.

        That is since its time on the server ended, or since it ceased to be known as true. Nothing
        is returned that was invalidated, or of which nobody knows whether it was.

        Args:
            name: What it is kept by.
            now: In monotonic seconds.
        """
        try:
            entry = self.entries[name]
        except KeyError:
            return None
        age = now - min(self._known_until(entry, now), entry.expires)
        for needed, value in entry.depends:
            other = self.recall(needed, now)
            if other is None or other[0].value != value:
                return None
            age = max(age, other[1])
        return None if age == math.inf else (entry, max(age, 0.0))

    def _known_until(self, entry: Entry, now: float) -> float:
        source, moved = entry.source, entry.slot_epoch != self._slot_epochs[entry.slot]
        if entry.source_epoch == source.epoch and not moved:
            silent = now - source.pong >= self.max_silence
            return max(entry.began, source.pong) if silent else now
        if entry.flushes != self.flushes:
            return -math.inf
        return entry.began if moved else source.ends.get(entry.source_epoch, entry.began)

    def claim(
        self, key: bytes, source: Source, now: float, slot: int | None = None
    ) -> Token | None:
        """Return a token for a read that is about to be sent, or None where nothing may be kept.

        Args:
            key: What is read.
            source: The connection that it is read on.
            now: In monotonic seconds.
            slot: The key's, where it is known already.
        """
        if not source.ready:
            return None
        token = self._inflight.get(key)
        if token is None or token.source is not source or not self._unmoved(token):
            token = self._inflight[key] = Token(key, source, now, slot)
            token.slot_epoch = self._slot_epochs[token.slot]
            token.epoch, token.flushes = self.epoch, self.flushes
        token.users += 1
        return token

    def stands(self, token: Token) -> bool:
        """Tell whether nothing has happened since the claim that forbids to keep what was read."""
        return self._inflight.get(token.key) is token and self._unmoved(token)

    def _unmoved(self, token: Token) -> bool:
        return (
            token.source_epoch == token.source.epoch
            and token.slot_epoch == self._slot_epochs[token.slot]
            and token.epoch == self.epoch
        )

    def fill(
        self,
        token: Token,
        value: Any,
        now: float,
        *,
        ttl: float = math.inf,
        name: Hashable = None,
        size: int = 1,
        absent: bool = False,
        depends: Depends = (),
        cost: int = 0,
    ) -> Entry | None:
        """Keep what was read, if its token stands; return the entry.

        Args:
            token: From `claim`, before the read was sent.
            value: Whatever is to be handed out.
            now: In monotonic seconds.
            ttl: Seconds that it lives on the server, when it was read.
            name: What it is looked up by; None means by the key.
            size: What the entry weighs.
            absent: Whether the value says that there is no such key.
            depends: Names, and what has to be kept under each for the entry to be served.
            cost: What it cost to make the value, in microseconds.
        """
        life = ABSENT if absent and ttl > ABSENT else ttl
        expires = until = token.began + life
        if life > self.max_staleness:
            until = token.began + self.max_staleness
        if not self.stands(token) or until <= now:
            return None
        label = token.key if name is None else name
        entry = Entry(token, label, value)
        entry.expires, entry.until, entry.size = expires, until, size
        entry.depends, entry.cost = depends, cost
        self.drop(label)
        self.entries[label] = entry
        if label != token.key:
            self._names.setdefault(token.key, {})[label] = None
        return entry

    def release(self, token: Token) -> None:
        """Give a token back, filled or not; to be called once for each claim."""
        token.users -= 1
        if not token.users and self._inflight.get(token.key) is token:
            del self._inflight[token.key]

    def redirected(self, token: Token, *, moved: bool) -> None:
        """Let a read go that was answered with a redirect: what is served instead is not kept.

        Args:
            token: The read's.
            moved: Whether its slot has another owner (MOVED), and is not just on its way (ASK).
        """
        self._void_token(token)
        if moved:
            self.moved([token.slot])

    def _void_token(self, token: Token) -> None:
        if self._inflight.get(token.key) is token:
            del self._inflight[token.key]

    # Invalidations ----------------------------------------------------------------------------

    def void(self, keys: Iterable[bytes]) -> None:
        """Drop keys, and the tokens of their reads: invalidated, or about to be written, or just.

        For an own write, call it before the write is sent and after its reply.
        """
        for key in keys:
            self._inflight.pop(key, None)
            self.watches.ring(key)
            self.entries.pop(key, None)
            for name in self._names.pop(key, ()):
                self.entries.pop(name, None)

    def void_all(self) -> None:
        """Drop everything, and let no read that is under way be kept.

        Also for a child behind a fork: its parent's connections tell it nothing.
        """
        self.epoch += 1
        self.watches.ring_all()
        self.entries.clear()
        self._names.clear()

    def drop(self, name: Hashable) -> None:
        """Drop one entry."""
        entry = self.entries.pop(name, None)
        if entry is not None:
            self.evicted(entry)

    def evicted(self, entry: Entry) -> None:
        """Forget the name of an entry that is kept no more."""
        names = self._names.get(entry.key)
        if names is not None:
            names.pop(entry.name, None)
            if not names:
                del self._names[entry.key]

    # Sources ----------------------------------------------------------------------------------

    def tracked(self, source: Source, health: Health) -> None:
        """Take note that a new connection is tracked: from now on it may be read on.

        Args:
            source: Whose connection it is.
            health: What its node answered behind CLIENT TRACKING.
        """
        source.end_epoch()
        source.certify(health)

    def flushed(self, source: Source) -> None:
        """Void all that a source vouched for: its node was emptied."""
        self.flushes += 1
        self._end_epoch(source)

    def lost(self, source: Source) -> None:
        """Void all that a source vouched for: its connection is gone, or a PING got no answer."""
        self._end_epoch(source)
        source.ready = False

    def _end_epoch(self, source: Source) -> None:
        if source.ready:
            self.watches.ring_all()
        source.end_epoch()

    def beat(self, source: Source, health: Health) -> None:
        """Take a heartbeat's answer: all that was pushed before it has come.

        Args:
            source: Who answered.
            health: What it answered.
        """
        if health.slots != source.slots:
            self.moved(changed(owners_of(source.slots), owners_of(health.slots)))
        if not health.serving or health.config_epoch != source.config_epoch:
            self._end_epoch(source)
        source.certify(health)

    def overdue(self, sent: float, now: float) -> bool:
        """Tell whether a PING that was sent at `sent` is answered too late: its link is `lost`."""
        return now - sent >= self.max_silence

    # Slots ------------------------------------------------------------------------------------

    def moved(self, slots: Collection[int]) -> None:
        """Void what is kept of slots that changed hands."""
        for slot in slots:
            self._slot_epochs[slot] += 1
        self.watches.ring_slots(slots)

    def followed(self, old: Topology, new: Topology) -> None:
        """Void what is kept of the slots that two snapshots of the map do not agree on."""
        self.moved(changed(primaries_of(old), primaries_of(new)))
