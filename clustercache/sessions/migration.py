"""Sessions that an older store left, read once and then written as ours.

A reader does no I/O: it tells the key that a cookie stands for, and turns the bytes found there
into data. The data move to a session with a new token; an old id is never taken over.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from clustercache._values.json_text import MAX_DEPTH, too_deep
from clustercache._values.undecodable import Undecodable
from clustercache.exceptions import ConfigurationError
from clustercache.sessions.pickled import Pickles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Loads = Callable[[bytes], Any]
    Allowed = Iterable[tuple[str, str]]

_FLASK_ID = re.compile(r"[A-Za-z0-9_-]{16,256}")
_DJANGO_ID = re.compile(r"[a-z0-9]{32}")
_LARGEST: Final = 1 << 20
"""Bytes of a session: beyond any that can be written as ours."""


class SessionReader(Protocol):
    """What `migrate=` takes.

    Attributes:
        source: The client or URL to read from; None for the session store's own.
    """

    source: Any

    def key_of(self, cookie: str) -> str | None:
        """Return the key that a cookie stands for, or None where it is not of that store."""
        ...

    def decode(self, stored: bytes) -> dict[str, Any] | None:
        """Return the data, or None where they cannot be read. Nothing is raised."""
        ...


class FlaskSessionReader:
    """Read what Flask-Session wrote to Redis.

    Args:
        source: The client or URL to read from; None for the session store's own.
        key_prefix: SESSION_KEY_PREFIX.
        format: SESSION_SERIALIZATION_FORMAT. The other one is read, too, if it can be.
        secret_key: The application's, if SESSION_USE_SIGNER was set; None for plain cookies.
        allow: Classes, as pairs of module and name, that may be in pickles from before
            Flask-Session 0.7; None reads no pickle.

    Raises:
        ConfigurationError: Unknown format; msgspec or itsdangerous is missing; `allow` is wrong.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        key_prefix: str = "session:",
        format: Literal["msgpack", "json"] = "msgpack",  # noqa: A002 - the store's own word
        secret_key: str | bytes | None = None,
        allow: Allowed | None = None,
    ) -> None:
        self.source = source
        self._prefix = key_prefix
        self._unsign = None if secret_key is None else _unsigner(secret_key)
        if format == "msgpack":
            self._loads = [_msgpack(), _json]
        elif format == "json":
            self._loads = [_json, *_msgpack_if_there()]
        else:
            raise ConfigurationError(f"format is 'msgpack' or 'json', not {format!r}")
        if allow is not None:
            self._loads.append(Pickles(allow).loads)

    def key_of(self, cookie: str) -> str | None:
        """Return the key that a cookie stands for, or None."""
        name = cookie if self._unsign is None else self._unsign(cookie)
        return _key(self._prefix, _FLASK_ID, name)

    def decode(self, stored: bytes) -> dict[str, Any] | None:
        """Return the data, or None where they cannot be read; keys that are no strings drop."""
        return _first(self._loads, stored)


class DjangoSessionReader:
    """Read what Django's cache sessions wrote through its own Redis cache or django-redis.

    Args:
        source: The client or URL to read from; None for the session store's own.
        key_prefix: Everything before the session's id. Django's is
            ``{KEY_PREFIX}:{VERSION}:django.contrib.sessions.cache``, or ``cached_db`` at its end.
        format: "pickle" is what both write unless told otherwise; "json" and "msgpack" are
            django-redis's other serializers; "signed" is the text of database sessions.
        allow: Classes, as pairs of module and name, that may be in a pickle; () for none. There
            is no default, for each is one that whoever can write to that Redis can make use of.
        compressed: Whether django-redis compressed with zlib.
        secret_key: Checks "signed"; None for Django's settings.

    Raises:
        ConfigurationError: Unknown format, a pickle without `allow`, or a package is missing.
    """

    def __init__(
        self,
        source: Any = None,
        *,
        key_prefix: str = ":1:django.contrib.sessions.cache",
        format: Literal["pickle", "json", "msgpack", "signed"] = "pickle",  # noqa: A002
        allow: Allowed | None = None,
        compressed: bool = False,
        secret_key: str | bytes | None = None,
    ) -> None:
        self.source = source
        self._prefix = key_prefix
        self._loads: Loads
        if format == "pickle":
            if allow is None:
                raise ConfigurationError("allow= has to name the classes a pickle may hold, or ()")
            self._loads = Pickles(allow).loads
        elif format == "json":
            self._loads = _json
        elif format == "msgpack":
            self._loads = _msgpack()
        elif format == "signed":
            self._loads = _signed(secret_key)
        else:
            raise ConfigurationError(f"Django has no sessions of the format {format!r}")
        self._compressed = compressed

    def key_of(self, cookie: str) -> str | None:
        """Return the key that a cookie stands for, or None."""
        return _key(self._prefix, _DJANGO_ID, cookie)

    def decode(self, stored: bytes) -> dict[str, Any] | None:
        """Return the data, or None where they cannot be read; keys that are no strings drop."""
        if not self._compressed:
            return _first([self._loads], stored)
        return _first([lambda data: self._loads(_inflated(data))], stored)


def _key(prefix: str, valid: re.Pattern[str], name: str | None) -> str | None:
    return f"{prefix}{name}" if name is not None and valid.fullmatch(name) else None


def _first(ways: list[Loads], stored: bytes) -> dict[str, Any] | None:
    for loads in ways if len(stored) <= _LARGEST else ():
        try:
            found = loads(stored)
        except Exception:  # noqa: BLE001, S112 - the next way, or it is no session
            continue
        if isinstance(found, dict):
            return {str.__str__(k): v for k, v in found.items() if isinstance(k, str)}
    return None


def _json(data: bytes) -> Any:
    if too_deep(data):
        raise Undecodable(f"it is deeper than {MAX_DEPTH} levels")
    return json.loads(data)


def _msgpack() -> Loads:
    try:
        import msgspec
    except ImportError as error:
        raise ConfigurationError(
            "reading msgpack needs msgspec; pip install 'clustercache[msgspec]'"
        ) from error
    return msgspec.msgpack.Decoder().decode


def _msgpack_if_there() -> list[Loads]:
    try:
        return [_msgpack()]
    except ConfigurationError:
        return []


def _unsigner(secret_key: str | bytes) -> Callable[[str], str | None]:
    try:
        from itsdangerous import BadSignature, Signer
    except ImportError as error:
        raise ConfigurationError("secret_key needs itsdangerous, which Flask brings") from error
    signer = Signer(secret_key, salt="flask-session", key_derivation="hmac")

    def unsign(cookie: str) -> str | None:
        try:
            return signer.unsign(cookie).decode()
        except (BadSignature, ValueError):  # the latter where the cookie is no UTF-8
            return None

    return unsign


def _signed(secret_key: str | bytes | None) -> Loads:
    try:
        from django.core import signing
    except ImportError as error:
        raise ConfigurationError("reading signed sessions needs Django") from error
    salt = "django.contrib.sessions.SessionStore"
    # With a key of our own, Django's settings are not looked at, for the older keys neither.
    others = None if secret_key is None else ()

    def loads(data: bytes) -> Any:
        return signing.loads(data.decode(), key=secret_key, salt=salt, fallback_keys=others)

    return loads


def _inflated(data: bytes) -> bytes:
    """Return what zlib packed, up to a size; small values were left alone."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, _LARGEST)
    except zlib.error:
        return data
    if not inflater.eof:
        raise Undecodable("it is cut off, or larger than 1 MiB")
    return plain
