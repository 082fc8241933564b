"""What a URL says: addresses, and options as text."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from clustercache._core.address import DEFAULT_PORT, Address
from clustercache._core.read_from import POLICIES, ReadFrom
from clustercache.exceptions import ConfigurationError

_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_SENTINEL = "+sentinel"
_SENTINEL_PORT = 26379
_NUMBERS = {"socket_timeout": float, "socket_connect_timeout": float, "deadline": float}
_INTEGERS = {"db", "max_connections", "max_in_flight", "max_reply_bytes", "max_waiting"} | {
    "protocol",
    "ssl_min_version",
}
_FLAGS = {"decode_responses", "legacy_responses", "socket_keepalive", "ssl_check_hostname"}
_TEXTS = {"username", "password", "client_name", "encoding", "encoding_errors"} | {
    "sentinel_username",
    "sentinel_password",
    "availability_zone",
}
_YES, _NO = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Return the address in "host", "host:port" or "[v6]:port", or raise ConfigurationError."""
    if text.count(":") > 1 and not text.startswith("["):
        raise ConfigurationError("an address is host:port; an IPv6 address stands in [brackets]")
    try:
        address = Address.parse(text, default_host="localhost", default_port=default_port)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if address.host.replace(",", " ").split() != [address.host]:
        raise ConfigurationError(
            "a host's name is not empty and has no spaces or commas; give more seeds as ?addr="
        )
    return address


def parse_url(url: str) -> dict[str, Any]:
    """Return the options and "seeds" that one URL describes.

    Raises:
        ConfigurationError: Says which part is wrong; the password is never repeated.
    """
    parts = _parts_of(url)
    scheme = parts.scheme.removesuffix(_SENTINEL)
    if scheme not in _SCHEMES:
        known = ", ".join(sorted(_SCHEMES))
        raise ConfigurationError(
            f"unknown URL scheme {parts.scheme!r}; known are: {known}, all with +sentinel too"
        )
    sentinel = scheme != parts.scheme
    port = _SENTINEL_PORT if sentinel else DEFAULT_PORT
    options: dict[str, Any] = {}
    if _SCHEMES[scheme]:
        options["ssl"] = True
    host = parts.netloc.rpartition("@")[2]
    hosts = host.split(",") if sentinel else [host]
    seeds = [parse_address(one, port) for one in hosts] if host else [Address("localhost", port)]
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    path = parts.path.strip("/")
    if sentinel:
        service, _, path = path.partition("/")
        options["service_name"] = _service(service)
    if path:
        options["db"] = _url_value("db", path)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "addr":
            seeds.append(parse_address(value, port))
        else:
            options[name] = _url_value(name, value)
    return {**options, "seeds": seeds}


def _service(text: str) -> str:
    if not text:
        raise ConfigurationError(
            "a sentinel URL names the service, as in redis+sentinel://host/mymaster"
        )
    return unquote(text)


def _parts_of(url: Any) -> SplitResult:
    if not isinstance(url, str):
        raise ConfigurationError(f"a URL is a str, not {type(url).__name__}")
    parts = None
    with suppress(ValueError):  # its text repeats the password
        parts = urlsplit(url)
    if parts is None:
        raise ConfigurationError(
            "the URL's host cannot be read: IPv6 addresses stand in [brackets]"
        )
    if parts.netloc.count("@") > 1:
        raise ConfigurationError("write @ inside a user's name or a password as %40")
    astray = parts.path if "@" in parts.netloc else parts.path + parts.query
    if "#" in url or "@" in astray:
        raise ConfigurationError(
            "write @, /, ? and # inside a part of the URL as %40, %2F, %3F and %23"
        )
    return parts


def _url_value(name: str, text: str) -> Any:
    """Return a URL option's text as its field's type."""
    kind = _NUMBERS.get(name) or (int if name in _INTEGERS else None)
    if kind is not None:
        with suppress(ValueError):  # its own error would quote the text
            return kind(text)
        raise ConfigurationError(f"URL option {name!r} is not a number")
    if name == "read_from":
        with suppress(ValueError):
            return ReadFrom.named(text)
        raise ConfigurationError(f"URL option 'read_from' is none of {', '.join(POLICIES)}")
    if name in _FLAGS:
        if text.lower() not in _YES | _NO:
            raise ConfigurationError(f"URL option {name!r} is not true or false")
        return text.lower() in _YES
    if name not in _TEXTS and not name.startswith("ssl_"):
        raise ConfigurationError(f"unknown URL option {name!r}")
    return text
