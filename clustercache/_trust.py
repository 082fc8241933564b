"""TLS that no waiting can mend: what was refused, by whom, and what to do about it.

A certificate that is not trusted, or not for that name, will be so at the next attempt, too; a
handshake that was cut off or took too long may end otherwise. Only the former are told here.
Source: OpenSSL's verify(1), "Diagnostics", and RFC 8446, section 6.2.
"""

from __future__ import annotations

import ssl
from typing import Final

from clustercache._core.wire import ServerError

UNTRUSTED: Final = "UNTRUSTED"
"""The code of the error that stands for TLS which cannot be had with these settings."""

_NAMES = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_DATES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_TRANSIENT = (
    ssl.SSLEOFError,
    ssl.SSLSyscallError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
    ssl.SSLZeroReturnError,
)

_WRONG_NAME = (
    "the certificate of the server is not for the address it was reached at: let the nodes "
    "announce names that are in it (cluster-announce-hostname), or give one as ssl_server_name"
)
_WRONG_DATE = "the certificate of the server is not valid at this time: renew it, or mend the clock"
_WRONG_CA = "the certificate of the server is of no trusted CA: give its CA as ssl_ca_certs"
# By a part of OpenSSL's reason; the first that fits counts.
_ADVICE = (
    ("CERTIFICATE_REQUIRED", "the server wants a client certificate: give ssl_certfile"),
    ("ALERT_HANDSHAKE_FAILURE", "the server wants a client certificate, or other ciphers"),
    ("ALERT_UNKNOWN_CA", "the server does not trust the CA of the certificate in ssl_certfile"),
    ("ALERT_DECRYPT_ERROR", "the server does not trust the CA of the certificate in ssl_certfile"),
    ("ALERT_BAD_CERTIFICATE", "the server does not accept the certificate in ssl_certfile"),
    ("ALERT_CERTIFICATE_EXPIRED", "the certificate in ssl_certfile has expired: renew it"),
    ("PROTOCOL", "client and server share no TLS version: look at ssl_min_version and at theirs"),
    ("WRONG_VERSION", "that port does not speak TLS: use redis:// for it, or its TLS port"),
    ("RECORD_LAYER_FAILURE", "that port does not speak TLS: use redis:// for it, or its TLS port"),
)


def untrusted(error: BaseException) -> ServerError | None:
    """Return the refusal that is behind an exception, or None if waiting may help.

    Args:
        error: What connecting ended in; its causes are looked at, too.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__
    if found is None or isinstance(found, (*_TRANSIENT, TimeoutError)):
        return None
    advice = _advice(found)
    return ServerError(f"{UNTRUSTED} {advice}") if advice else None


def without_code(error: ServerError) -> str:
    """Return what a refusal says to people."""
    return error.text.removeprefix(f"{UNTRUSTED} ")


def _advice(error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAMES:
            return _WRONG_NAME
        return _WRONG_DATE if error.verify_code in _DATES else _WRONG_CA
    reason = getattr(error, "reason", None) or ""
    return next((advice for part, advice in _ADVICE if part in reason), None)
