"""Encryption at rest: AES-GCM for each field, with keys that can be replaced.

    sealed = C1 01 | length of the key's id | the key's id | nonce, 12 bytes | ciphertext and tag

No MessagePack and no UTF-8 text starts with C1, so what is sealed cannot be taken for what is
not. The associated data are that head, the selector and the field's name, each after its length:
a field that is copied to another session, to another name, or under another key's id, does not
open. An older value of the same field does; a store that somebody else can write to is not proof
against that.

One key with random nonces serves for 2**32 writes (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from clustercache._values.json_text import to_bytes
from clustercache._values.undecodable import Undecodable
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC: Final = b"\xc1\x01"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_LONGEST_ID: Final = 255


class KeyRing:
    """Hold the keys that sessions are encrypted with: all of them open, one seals.

    To replace a key, add the new one at every server first, then make it the active one. Take the
    old one away when the longest session written with it is over.

    Args:
        keys: By id, 32 bytes each: ``{"2026-01": secrets.token_bytes(32)}``. An id is stored
            beside what it sealed, and is no secret.
        active: The id of the key that seals; None for the last one given.
        accept_plain: Also read what is not sealed, until sessions from before are over.
        entropy: Returns as many random bytes as it is asked for.

    Raises:
        ConfigurationError: No key, a key that is not 32 bytes, an id that is not 1 to 255 bytes,
            an unknown active id; or cryptography is not installed.
    """

    __slots__ = ("_active", "_by_head", "_ciphers", "_entropy", "_plain")

    def __init__(
        self,
        keys: Mapping[str, bytes],
        *,
        active: str | None = None,
        accept_plain: bool = False,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not keys:
            raise ConfigurationError("a key ring needs a key; secrets.token_bytes(32) makes one")
        self._ciphers = {name: _cipher(name, key) for name, key in keys.items()}
        self._active = next(reversed(self._ciphers)) if active is None else active
        if self._active not in self._ciphers:
            raise ConfigurationError(f"the active key {active!r} is not in the key ring")
        self._by_head = {_head(name): cipher for name, cipher in self._ciphers.items()}
        self._plain = accept_plain
        self._entropy = entropy

    def __repr__(self) -> str:
        return f"KeyRing({list(self._ciphers)}, active={self._active!r})"

    def seal(self, selector: str, name: str, plain: bytes) -> bytes:
        """Return a field's bytes encrypted with the active key, bound to where they belong."""
        head = _head(self._active)
        nonce = self._entropy(_NONCE_BYTES)
        bound = _bound(head, selector, name)
        return head + nonce + self._ciphers[self._active].encrypt(nonce, plain, bound)

    def unseal(self, selector: str, name: str, stored: bytes) -> bytes:
        """Return what `seal` was given.

        Raises:
            Undecodable: It is not sealed, or by a key that is not here, or it was altered or
                belongs elsewhere.
        """
        from cryptography.exceptions import InvalidTag

        if not stored.startswith(_MAGIC):
            if self._plain:
                return stored
            raise Undecodable("it is not encrypted; KeyRing(accept_plain=True) reads such data")
        head = stored[: 3 + int.from_bytes(stored[2:3])]
        cipher = self._by_head.get(head)
        if cipher is None:
            raise Undecodable("the key that it was encrypted with is not in the key ring")
        nonce, body = stored[len(head) :][:_NONCE_BYTES], stored[len(head) + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, body, _bound(head, selector, name))
        except (InvalidTag, ValueError):
            pass  # raised outside of this, so as to carry nothing along
        raise Undecodable("it was altered, or belongs to another session or field")


def _cipher(name: object, key: object) -> AESGCM:
    if not isinstance(name, str) or not 1 <= len(to_bytes(name)) <= _LONGEST_ID:
        raise ConfigurationError("a key's id has to be a str of 1 to 255 bytes")
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
        raise ConfigurationError(f"the key {name!r} has to be {_KEY_BYTES} bytes")
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise ConfigurationError(
            "a KeyRing needs cryptography; pip install 'clustercache[crypto]'"
        ) from error
    return AESGCM(key)


def _head(name: str) -> bytes:
    encoded = to_bytes(name)
    return _MAGIC + bytes([len(encoded)]) + encoded


def _bound(head: bytes, *parts: str) -> bytes:
    framed = [head]
    for part in map(to_bytes, parts):
        framed += (len(part).to_bytes(4), part)
    return b"".join(framed)
