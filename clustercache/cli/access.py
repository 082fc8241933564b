"""The options that say which cluster, as whom, and over TLS or not."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clustercache.config import ClusterConfig

ENVIRONMENT = ("CLUSTERCACHE_URL", "VALKEY_URL", "REDIS_URL")

_URL = click.option(
    "--url", envvar=list(ENVIRONMENT), help=f"The cluster (default: ${', $'.join(ENVIRONMENT)})."
)
_LOGIN = (
    click.option("--username", help="ACL user."),
    click.option("--password-env", metavar="NAME", help="Environment variable with the password."),
    click.option("--tls", is_flag=True, help="Speak TLS; the options below imply it."),
    click.option("--ca-certs", type=click.Path(exists=True), help="CA bundle to trust."),
    click.option("--cert", type=click.Path(exists=True), help="Client certificate."),
    click.option("--key", type=click.Path(exists=True), help="Key of the client certificate."),
    click.option("--insecure", is_flag=True, help="Verify no certificate."),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What the options said.

    Attributes:
        url: The cluster's URL, or None.
        options: Further options of `config.from_url`.
    """

    url: str | None
    options: dict[str, Any] = field(repr=False)

    def config(self, urls: str | Iterable[str] | None = None) -> ClusterConfig:
        """Return the configuration of the cluster at `urls` (default: the URL that was given).

        Raises:
            click.UsageError: No URL was given.
        """
        from clustercache.config import from_url

        wanted = self.url if urls is None else urls
        if not wanted:
            raise click.UsageError(f"which cluster? Give --url, or set {ENVIRONMENT[0]}.")
        return from_url(wanted, **self.options)


def login_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for credentials and TLS, as `access`."""

    @functools.wraps(command)
    def with_access(*args: Any, **values: Any) -> Any:
        names = ("username", "password_env", "tls", "ca_certs", "cert", "key", "insecure")
        given = {name: values.pop(name) for name in names}
        access = Access(values.pop("url", None), _options(**given))
        return command(*args, access=access, **values)

    for option in reversed(_LOGIN):
        with_access = option(with_access)
    return with_access


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--url` and the options for credentials and TLS, as `access`."""
    return _URL(login_options(command))


def json_option(what: str = "JSON") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the `--json` option of a command, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


def _options(
    *,
    username: str | None,
    password_env: str | None,
    tls: bool,
    ca_certs: str | None,
    cert: str | None,
    key: str | None,
    insecure: bool,
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": username,
        "password": _password(password_env),
        "ssl_ca_certs": ca_certs,
        "ssl_certfile": cert,
        "ssl_keyfile": key,
        "ssl_cert_reqs": "none" if insecure else None,
    }
    found = {name: value for name, value in options.items() if value is not None}
    if tls or any(name.startswith("ssl_") for name in found):
        found["ssl"] = True
    return found


def _password(variable: str | None) -> str | None:
    if variable is None:
        return None
    if variable not in os.environ:
        raise click.UsageError(f"--password-env: the environment has no {variable}.")
    return os.environ[variable]
