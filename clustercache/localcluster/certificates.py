"""Throw-away certificates for servers on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

from clustercache.config import TLS
from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_LIFETIME = dt.timedelta(days=30)


def make_certificates(directory: Path, *, age: dt.timedelta = dt.timedelta(days=1)) -> TLS:
    """Write a new CA and a certificate for 127.0.0.1 and localhost, and return their paths.

    Args:
        directory: Where to; it is made.
        age: Since when they are valid; with more than 30 days they are no more.

    Raises:
        ConfigurationError: The package `cryptography` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise ConfigurationError(
            "LocalCluster(tls=True) makes certificates with the package cryptography: install it, "
            "or give a TLS with certfile, keyfile and ca_certs"
        ) from error

    # Two CAs of one name would be taken for each other where both are trusted.
    ca_name = f"clustercache throw-away CA {x509.random_serial_number():x}"[:64]
    start = dt.datetime.now(dt.UTC) - age
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def sign(
        builder: x509.CertificateBuilder, name: str, public: ec.EllipticCurvePublicKey
    ) -> x509.Certificate:
        return (
            builder.subject_name(named(name))
            .issuer_name(named(ca_name))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + _LIFETIME)
            .sign(ca_key, hashes.SHA256())
        )

    authority = x509.CertificateBuilder().add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), loopback])
    leaf = x509.CertificateBuilder().add_extension(names, critical=False)
    ca = sign(authority, ca_name, ca_key.public_key())
    certificate = sign(leaf, "localhost", key.public_key())
    pem = serialization.Encoding.PEM
    key_text = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = {
        "ca.pem": ca.public_bytes(pem),
        "server.pem": certificate.public_bytes(pem),
        "server.key": key_text,
    }
    return _written(directory, files)


def _written(directory: Path, files: dict[str, bytes]) -> TLS:
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_bytes(content)
    return TLS(
        ca_certs=str(directory / "ca.pem"),
        certfile=str(directory / "server.pem"),
        keyfile=str(directory / "server.key"),
    )
