"""Which TLS errors are final, and that each says what to do."""

from __future__ import annotations

import ssl

import pytest

from clustercache._trust import UNTRUSTED, untrusted, without_code


def failed(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] text of OpenSSL")
    error.reason = reason
    return error


def unverified(code):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (unverified(62), "cluster-announce-hostname"),
        (unverified(64), "ssl_server_name"),
        (unverified(10), "renew it"),
        (unverified(9), "clock"),
        (unverified(18), "ssl_ca_certs"),
        (unverified(20), "ssl_ca_certs"),
        (failed("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "give ssl_certfile"),
        (failed("SSLV3_ALERT_HANDSHAKE_FAILURE"), "client certificate, or other ciphers"),
        (failed("TLSV1_ALERT_UNKNOWN_CA"), "does not trust the CA"),
        (failed("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "ssl_certfile has expired"),
        (failed("TLSV1_ALERT_PROTOCOL_VERSION"), "ssl_min_version"),
        (failed("UNSUPPORTED_PROTOCOL"), "ssl_min_version"),
        (failed("WRONG_VERSION_NUMBER"), "use redis://"),
        (failed("RECORD_LAYER_FAILURE"), "use redis://"),
    ],
)
def test_what_no_waiting_mends_is_told_with_what_to_do(error, advice):
    refusal = untrusted(error)
    assert refusal.code == UNTRUSTED
    assert advice in without_code(refusal)
    assert "..." not in refusal.text, "quotes would be cut out"


def test_the_cause_of_an_event_counts():
    event = RuntimeError("no answer to the handshake")
    event.__cause__ = failed("TLSV13_ALERT_CERTIFICATE_REQUIRED")
    assert untrusted(event)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "closed"),
        failed("TLSV1_ALERT_INTERNAL_ERROR"),
        ssl.SSLError(1, "without a reason"),
    ],
)
def test_what_may_end_otherwise_the_next_time_is_not_final(error):
    assert untrusted(error) is None
