"""A stored session as it is read: what its fields say, and whether a token is good for it.

Pure: the time is an argument. Where something must be decided for certain (before a write), the
scripts decide it again, by the server's clock.
"""

from __future__ import annotations

from enum import Enum, auto
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple

from clustercache.sessions.scripts import NONCE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS: Final = ("_c", "_a", "_x", "_i", "_u", "_d")
"""What a list of sessions shows of each."""


LATEST: Final = 253_402_300_799_999
"""The last millisecond that a datetime can tell."""


class Standing(Enum):
    """What a verifier is to a session."""

    CURRENT = auto()
    UNCONFIRMED = auto()
    """It was renewed, and its successor has not been seen yet."""
    IN_GRACE = auto()
    """It was renewed, its successor is in use, and it is good for a little longer."""
    NOT_GOOD = auto()


class Record(NamedTuple):
    """The fields of a stored session; times in milliseconds since 1970."""

    key: bytes
    previous: bytes | None
    previous_until: int | None
    made: int
    created: int
    active: int
    deadline: int
    idle: int
    user: str | None
    proved: int | None
    device: bytes
    nonce: bytes
    """Of the newest save."""
    fields: dict[str, bytes]

    @classmethod
    def read(cls, stored: Mapping[bytes, bytes]) -> Record | None:
        """Return what a hash holds, or None if that is no session."""
        get = stored.get
        try:
            until, user, proved = get(b"_kpx"), get(b"_u"), get(b"_at")
            times = [int(stored[name]) for name in (b"_r", b"_c", b"_a", b"_x", b"_i")]
            if not all(0 <= one <= LATEST for one in (*times, int(proved or 0))):
                return None
            return cls(
                key=stored[b"_k"],
                previous=get(b"_kp"),
                previous_until=None if until is None else int(until),
                made=times[0],
                created=times[1],
                active=times[2],
                deadline=times[3],
                idle=times[4],
                user=None if user is None else user.decode(),
                proved=None if proved is None else int(proved),
                device=get(b"_d", b""),
                nonce=get(b"_n", b"")[-NONCE_BYTES:],
                fields={k[1:].decode(): v for k, v in stored.items() if k[:1] == b":"},
            )
        except (KeyError, ValueError):
            return None

    def standing(self, digest: bytes, now: int) -> Standing:
        """Tell what the verifier with this digest is."""
        if compare_digest(digest, self.key):
            return Standing.CURRENT
        if self.previous is None or not compare_digest(digest, self.previous):
            return Standing.NOT_GOOD
        if self.previous_until is None:
            return Standing.UNCONFIRMED
        return Standing.IN_GRACE if now < self.previous_until else Standing.NOT_GOOD

    def renewal_is_due(self, standing: Standing, now: int, age: int, grace: int) -> bool:
        """Tell whether the token should be replaced.

        Args:
            standing: Of the token that came.
            now: In milliseconds, as the others.
            age: From which on a token is renewed.
            grace: How long an unconfirmed successor is waited for.
        """
        if standing is Standing.CURRENT:
            until = self.previous_until
            settled = self.previous is None or (until is not None and until <= now)
            return settled and now - self.made >= age
        return standing is Standing.UNCONFIRMED and now - self.made > grace

    def is_to_be_confirmed(self, standing: Standing) -> bool:
        """Tell whether this token is the first sight of a successor."""
        unseen = self.previous is not None and self.previous_until is None
        return standing is Standing.CURRENT and unseen
