"""How a TLS connection is made; everything is verified unless a client is told otherwise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clustercache.exceptions import ConfigurationError

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class TLS:
    """How a TLS connection is made; everything is verified by default.

    Args:
        ca_certs: Path of a CA bundle; None takes the system's.
        ca_path: Path of a directory of CA certificates.
        ca_data: CA certificates as PEM text.
        certfile: Path of the client's certificate.
        keyfile: Path of its key.
        password: The key's passphrase.
        cert_reqs: "required", "optional" or "none".
        check_hostname: Whether the server's name must match its certificate.
        server_name: Name to ask for and verify instead of the address.
        min_version: Least TLS version, as in `ssl.TLSVersion`; TLS 1.2 unless told otherwise.
        ciphers: OpenSSL cipher list.
    """

    ca_certs: str | None = None
    ca_path: str | None = None
    ca_data: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)
    cert_reqs: str = "required"
    check_hostname: bool = True
    server_name: str | None = None
    min_version: int = 0x0303
    ciphers: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.cert_reqs not in {"required", "optional", "none"}:
            msg = "cert_reqs must be 'required', 'optional' or 'none'"
            raise ConfigurationError(msg)

    def context(self) -> ssl.SSLContext:
        """Return a new SSLContext made of these settings."""
        import ssl

        try:
            context = ssl.create_default_context(
                cafile=self.ca_certs, capath=self.ca_path, cadata=self.ca_data
            )
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile, self.password)
            context.minimum_version = ssl.TLSVersion(self.min_version)
            if self.ciphers:
                context.set_ciphers(self.ciphers)
        except (OSError, ValueError) as error:
            msg = f"TLS settings cannot be used: {error}"
            raise ConfigurationError(msg) from error
        context.check_hostname = self.check_hostname and self.cert_reqs == "required"
        context.verify_mode = ssl.VerifyMode[f"CERT_{self.cert_reqs.upper()}"]
        return context
