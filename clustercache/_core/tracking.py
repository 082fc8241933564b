"""What a near cache may still serve: coherence by server-assisted tracking, as a state.

A `Source` is one tracking connection to one primary. Cached keys are read on it, and it hears their
invalidations, so that the order of what comes on it closes the race between the two. Nobody ever
says that an entry is still true; so each remembers the epochs that it was read under, and is served
only while none of them has moved and its source was heard of a short while ago:

    hit(name)       no epoch moved, now < until, now - last_pong < max_silence
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

An absent key is kept for `ABSENT` seconds at the most: after its slot has moved nothing is pushed
for it, on any server.

Source: the Redis reference, "Client-side caching"; R. Nishtala et al., "Scaling Memcache at
Facebook", NSDI'13, for tokens that an invalidation voids.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from clustercache._core.slots import SLOT_COUNT, key_slot

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from clustercache._core.topology import Topology

ABSENT = 1.0
"""Seconds that a key's absence is kept."""
_T = TypeVar("_T")


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


class Source:
    """One tracking connection to one primary, and its successors to the same.

    Attributes:
        epoch: Moves when what it vouched for is void.
        pong: When the last PING was sent that was answered, in monotonic seconds.
        ready: Whether it is tracked, and its node serves.
        slots: What its node said of the slots' owners.
        config_epoch: What its node said of its own config epoch.
    """

    __slots__ = ("config_epoch", "epoch", "pong", "ready", "slots")

    def __init__(self) -> None:
        self.epoch = 0
        self.pong = -math.inf
        self.ready = False
        self.slots: Any = None
        self.config_epoch: Any = None


class Health(NamedTuple):
    """What a node answered to CLUSTER INFO, CLUSTER SLOTS and PING, in this order.

    Attributes:
        sent: When they were SENT, in monotonic seconds: the answers may have lain about.
        serving: Whether the node serves its slots (`cluster_state:ok`).
        slots: Who owns which slot: CLUSTER SLOTS as it was parsed.
        config_epoch: The node's own. It moves whenever the node gets a slot, so that one that left
            and came back between two heartbeats is noticed, too.
    """

    sent: float
    serving: bool
    slots: Any = None
    config_epoch: Any = None


class Token:
    """The right to keep what a read brings, shared by reads of one key at the same time."""

    __slots__ = ("began", "epoch", "key", "slot", "slot_epoch", "source", "source_epoch", "users")

    def __init__(self, key: bytes, source: Source, now: float) -> None:
        self.key = key
        self.slot = key_slot(key)
        self.source = source
        self.source_epoch = source.epoch
        self.slot_epoch = 0
        self.epoch = 0
        self.began = now
        self.users = 0


class Entry:
    """What is kept of one key under one name, and the epochs that it was read under."""

    __slots__ = (
        "began",
        "key",
        "name",
        "size",
        "slot",
        "slot_epoch",
        "source",
        "source_epoch",
        "until",
        "value",
    )

    def __init__(self, token: Token, name: Hashable, value: Any, until: float, size: int) -> None:
        self.name = name
        self.value = value
        self.until = until
        self.size = size
        self.began = token.began
        self.key = token.key
        self.slot = token.slot
        self.source = token.source
        self.source_epoch = token.source_epoch
        self.slot_epoch = token.slot_epoch


class Coherence:
    """The state of one process's near cache. Not thread-safe: its owner has a lock."""

    __slots__ = ("_inflight", "_names", "_slot_epochs", "entries", "epoch", "max_silence",
                 "max_staleness")  # fmt: skip

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
        self.epoch = 0
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
            return entry
        return None

    def claim(self, key: bytes, source: Source, now: float) -> Token | None:
        """Return a token for a read that is about to be sent, or None where nothing may be kept.

        Args:
            key: What is read.
            source: The connection that it is read on.
            now: In monotonic seconds.
        """
        if not source.ready:
            return None
        token = self._inflight.get(key)
        if token is None or token.source is not source or not self._unmoved(token):
            token = self._inflight[key] = Token(key, source, now)
            token.slot_epoch = self._slot_epochs[token.slot]
            token.epoch = self.epoch
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
        """
        life = min(ttl, self.max_staleness, ABSENT if absent else math.inf)
        until = token.began + life
        if not self.stands(token) or until <= now:
            return None
        label = token.key if name is None else name
        entry = Entry(token, label, value, until, size)
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
            self.entries.pop(key, None)
            for name in self._names.pop(key, ()):
                self.entries.pop(name, None)

    def void_all(self) -> None:
        """Drop everything, and let no read that is under way be kept.

        Also for a child behind a fork: its parent's connections tell it nothing.
        """
        self.epoch += 1
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
        source.epoch += 1
        self._certify(source, health)

    def flushed(self, source: Source) -> None:
        """Void all that a source vouched for: its node was emptied."""
        source.epoch += 1

    def lost(self, source: Source) -> None:
        """Void all that a source vouched for: its connection is gone, or a PING got no answer."""
        source.epoch += 1
        source.ready = False

    def beat(self, source: Source, health: Health) -> None:
        """Take a heartbeat's answer: all that was pushed before it has come.

        Args:
            source: Who answered.
            health: What it answered.
        """
        if health.slots != source.slots:
            self.moved(changed(owners_of(source.slots), owners_of(health.slots)))
        if not health.serving or health.config_epoch != source.config_epoch:
            source.epoch += 1
        self._certify(source, health)

    def _certify(self, source: Source, health: Health) -> None:
        source.slots, source.config_epoch = health.slots, health.config_epoch
        source.pong, source.ready = health.sent, health.serving

    def overdue(self, sent: float, now: float) -> bool:
        """Tell whether a PING that was sent at `sent` is answered too late: its link is `lost`."""
        return now - sent >= self.max_silence

    # Slots ------------------------------------------------------------------------------------

    def moved(self, slots: Iterable[int]) -> None:
        """Void what is kept of slots that changed hands."""
        for slot in slots:
            self._slot_epochs[slot] += 1

    def followed(self, old: Topology, new: Topology) -> None:
        """Void what is kept of the slots that two snapshots of the map do not agree on."""
        self.moved(changed(_primaries(old), _primaries(new)))


def _primaries(topology: Topology) -> list[Any]:
    return [shard and shard.primary.address for shard in topology.slots]


def owners_of(slots: Any) -> list[Any]:
    """Return who owns each slot, from a reply to CLUSTER SLOTS; None where nobody, or nothing."""
    owners: list[Any] = [None] * SLOT_COUNT
    for start, end, primary, *_ in slots or ():
        # The id stays when the address changes; Redis 3 has none.
        owners[start : end + 1] = [tuple(primary[2:3] or primary[:2])] * (end + 1 - start)
    return owners


def changed(old: Sequence[_T], new: Sequence[_T]) -> list[int]:
    """Return where two lists of all slots' owners differ."""
    return [slot for slot in range(SLOT_COUNT) if old[slot] != new[slot]]
