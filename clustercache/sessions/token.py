"""The token of a session: what its cookie holds.

    selector.verifier           16 and 22 characters of base64url: 96 and 128 random bits

The selector names the session and never changes; the verifier proves the right to it, and the
server keeps only its SHA-256. So what a dump of the server tells opens no session.

Source: "selector and verifier", as in split-token designs for password resets; OWASP ASVS 5.0, 7.2.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_SHAPE = re.compile(r"([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{22})")
_SELECTOR_BYTES = 12
_VERIFIER_BYTES = 16


class Token(NamedTuple):
    """A selector and a verifier."""

    selector: str
    verifier: str

    @classmethod
    def issue(cls, urlsafe: Callable[[int], str] = secrets.token_urlsafe) -> Self:
        """Return a new one.

        Args:
            urlsafe: Returns so many random bytes in base64url.
        """
        return cls(urlsafe(_SELECTOR_BYTES), urlsafe(_VERIFIER_BYTES))

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Return the token that a cookie holds, or None if it has not the shape of one."""
        found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
        return cls(*found.groups()) if found else None

    def successor(self, urlsafe: Callable[[int], str] = secrets.token_urlsafe) -> Self:
        """Return a token for the same session with another verifier."""
        return self._replace(verifier=urlsafe(_VERIFIER_BYTES))

    @property
    def digest(self) -> bytes:
        """What the server knows the verifier by."""
        return sha256(self.verifier.encode()).digest()

    def __str__(self) -> str:
        return f"{self.selector}.{self.verifier}"

    def __repr__(self) -> str:
        return f"Token({public_id(self.selector)})"


def public_id(selector: str) -> str:
    """Return what logs, lists and people call a session by: neither the token nor its key."""
    return sha256(b"public:" + selector.encode()).hexdigest()[:12]
