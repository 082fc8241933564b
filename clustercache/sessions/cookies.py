"""The session cookie: what it is called, where it goes, and the headers that set and delete it.

RFC 6265bis: the prefixes of section 4.1.3, the limits of section 5.6. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal

from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

SameSite = Literal["lax", "strict", "none"]

MOST: Final = 4096
"""Browsers drop a cookie whose name and value take as many bytes, or more."""

_VALUE: Final = 40
"""Bytes that a token takes at most."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ATTRIBUTE = re.compile(r"[^\x00-\x20\x7f;,]+")
_EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"

_SECURE, _HTTP_ONLY, _HOST = 1, 2, 4
_PREFIXES: Final = (
    ("__host-http-", _SECURE | _HTTP_ONLY | _HOST),
    ("__host-", _SECURE | _HOST),
    ("__http-", _SECURE | _HTTP_ONLY),
    ("__secure-", _SECURE),
)
"""What a browser demands of a cookie by its name, in any case."""


@dataclass(frozen=True, kw_only=True)
class CookieSettings:
    """A session cookie's name and attributes.

    Args:
        name: A name that begins with ``__Host-`` or ``__Secure-`` is kept to what it promises.
        path: Below which path it is sent.
        domain: To whose subdomains it is sent too; None for the very host that set it.
        secure: Whether it goes over TLS only; None: where the request came by https or wss.
        http_only: Whether scripts in the page cannot read it.
        same_site: Whether other sites' requests carry it; None leaves that to the browser.
        partitioned: Whether it is kept apart for each site that embeds this one (CHIPS).
        max_age: Seconds for which a browser keeps it; None: until it is closed.

    Raises:
        ConfigurationError: A browser would drop such a cookie.
    """

    name: str = "session"
    path: str = "/"
    domain: str | None = None
    secure: bool | None = None
    http_only: bool = True
    same_site: SameSite | None = "lax"
    partitioned: bool = False
    max_age: float | None = None

    def __post_init__(self) -> None:
        """Refuse what a browser would drop without a word."""
        if not _NAME.fullmatch(self.name) or len(self.name) + _VALUE >= MOST:
            msg = f"a cookie's name is a short word without spaces or ;,=, got {self.name!r}"
            raise ConfigurationError(msg)
        if not (self.path.startswith("/") and _ATTRIBUTE.fullmatch(self.path)):
            msg = f"a cookie's path begins with a slash, and has no ; in it, got {self.path!r}"
            raise ConfigurationError(msg)
        if self.domain is not None and not _ATTRIBUTE.fullmatch(self.domain):
            msg = f"a cookie's domain is a host's name, got {self.domain!r}"
            raise ConfigurationError(msg)
        if self.same_site not in {None, "lax", "strict", "none"}:
            msg = f"same_site must be lax, strict, none or None, got {self.same_site!r}"
            raise ConfigurationError(msg)
        if self.max_age is not None and not (isfinite(self.max_age) and self.max_age > 0):
            msg = f"max_age must be a number of seconds above 0, got {self.max_age!r}"
            raise ConfigurationError(msg)
        self._keep_promises()

    def _keep_promises(self) -> None:
        demands, by = 0, ""
        for prefix, these in _PREFIXES:
            if self.name.lower().startswith(prefix):
                demands, by = these, f"a name that begins with {self.name[: len(prefix)]}"
                break
        if demands & _HOST and (self.path != "/" or self.domain is not None):
            msg = f"{by} needs path='/' and no domain"
            raise ConfigurationError(msg)
        if demands & _HTTP_ONLY and not self.http_only:
            msg = f"{by} needs http_only"
            raise ConfigurationError(msg)
        if self.same_site == "none" or self.partitioned:
            demands, by = demands | _SECURE, by or "same_site='none', or partitioned,"
        if demands & _SECURE:
            if self.secure is False:
                msg = f"{by} needs secure"
                raise ConfigurationError(msg)
            object.__setattr__(self, "secure", True)

    # To the browser ---------------------------------------------------------------------------

    def set_to(self, token: str, *, tls: bool) -> str:
        """Return the value of a Set-Cookie header.

        Args:
            token: What the cookie holds.
            tls: Whether the request came over TLS.
        """
        age = "" if self.max_age is None else f"; Max-Age={int(self.max_age)}"
        return f"{self.name}={token}{age}{self._attributes[self._is_secure(tls)]}"

    def deleted(self, *, tls: bool) -> str:
        """Return the value of a Set-Cookie header that deletes it: with the same attributes."""
        attributes = self._attributes[self._is_secure(tls)]
        return f"{self.name}=; Expires={_EPOCH}; Max-Age=0{attributes}"

    def _is_secure(self, tls: bool) -> bool:  # noqa: FBT001 - a flag that is passed on
        return tls if self.secure is None else self.secure

    @cached_property
    def _attributes(self) -> tuple[str, str]:
        """What follows the value: without Secure, and with it."""
        words = [f"; Path={self.path}"]
        words += [f"; Domain={self.domain}"] if self.domain else []
        words += ["; HttpOnly"] if self.http_only else []
        words += [f"; SameSite={self.same_site.capitalize()}"] if self.same_site else []
        words += ["; Partitioned"] if self.partitioned else []
        plain = "".join(words)
        return plain, f"{plain}; Secure"

    # From the browser -------------------------------------------------------------------------

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return what a request's Cookie headers hold, or None.

        Of several by the same name the first counts: browsers send the most specific path first.

        Args:
            headers: Names in lower case, with values; HTTP/2 may have several for cookies.
        """
        wanted = self._wanted
        for name, value in headers:
            if name == b"cookie" and wanted in value:
                for pair in value.split(b";"):
                    found = pair.strip()
                    if found.startswith(wanted):
                        return found[len(wanted) :].strip(b' "').decode("latin-1")
        return None

    @cached_property
    def _wanted(self) -> bytes:
        return self.name.encode() + b"="
