"""What a key holds, judged: a lease, a value, both or nothing.

    CC 4C | the lease's token, 16 | until, 13 digits | what was stored before, if anything was

The lease is in the value's own key, so that whoever writes or unlinks that key has voided the
lease as well, with one command and without knowing of leases (R. Nishtala et al., "Scaling
Memcache at Facebook", NSDI'13). `scripts` has the other half.
"""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple

from clustercache._values.undecodable import Undecodable

if TYPE_CHECKING:
    from clustercache.caching.envelope import Envelope, Envelopes

LEASE: Final = b"\xccL"
TOKEN_BYTES: Final = 16
LEASE_BYTES: Final = len(LEASE) + TOKEN_BYTES + 13


class Found(NamedTuple):
    """What a key held when it was read.

    Attributes:
        stored: Its bytes, without the lease; None for nothing.
        envelope: What they say, if they can be read and every tag of theirs is valid.
        leased: Whether there is a lease, good or not.
    """

    stored: bytes | None
    envelope: Envelope | None = None
    leased: bool = False

    @property
    def seen(self) -> str:
        """What scripts know it by."""
        return sha1(self.stored, usedforsecurity=False).hexdigest() if self.stored else ""


NOTHING: Final = Found(None)


def opened(data: bytes | None, envelopes: Envelopes) -> Found:
    """Return what a key holds; its tags are not looked at."""
    if data is None:
        return NOTHING
    leased = data.startswith(LEASE)
    stored = data[LEASE_BYTES:] if leased else data
    if not stored:
        return Found(None, None, leased)
    try:
        envelope = envelopes.open(stored)
    except Undecodable:
        envelope = None
    return Found(stored, envelope, leased)
