"""What a client is told: addresses, credentials, limits. Frozen, and checked once."""

from __future__ import annotations

import codecs
import dataclasses
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from clustercache._core.commands import Safety
from clustercache._core.read_from import ReadFrom
from clustercache._tls import TLS
from clustercache._url import parse_address, parse_url
from clustercache.exceptions import ConfigurationError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clustercache._core.address import Address
    from clustercache.instrumentation import Hook

__all__ = [
    "TLS",
    "ClusterConfig",
    "CredentialProvider",
    "RetryPolicy",
    "build",
    "check_seconds",
    "from_url",
    "parse_address",
    "parse_url",
]

_LONGEST = 1_000_000  # seconds: what poll() and a lock take for a timeout ends not far above it


class CredentialProvider(Protocol):
    """What redis-py calls a credential provider."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return (password,) or (username, password)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which commands are sent again when they were sent and the reply was lost.

    A command that was refused, or never sent, is always sent again within the deadline.

    Args:
        resend: The classes to send again (rule: READ, SAME and COUNT; not NEVER).
        backoff_base: First pause in seconds, before jitter; it doubles each time.
        backoff_cap: Longest pause in seconds.
    """

    resend: frozenset[Safety] = frozenset({Safety.READ, Safety.SAME, Safety.COUNT})
    backoff_base: float = 0.01
    backoff_cap: float = 0.1

    @property
    def backoff(self) -> tuple[float, float]:
        """The first and the longest pause, in seconds."""
        return self.backoff_base, self.backoff_cap

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 < self.backoff_base <= self.backoff_cap:
            msg = "backoff_base must be above 0 and at most backoff_cap"
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Everything a `Cluster` or `AsyncCluster` is told.

    Args:
        seeds: Addresses to learn the topology from, those of sentinels where there is a
            `service_name`; kept for ever as the last resort.
        username: ACL user.
        password: Password.
        credential_provider: Asked for credentials at each connect, instead of the two above; one
            with redis-py's `on_next` also tells when live connections have to take new ones.
        service_name: What the sentinels call the primary and its replicas; None without sentinels.
        sentinel_username: ACL user at the sentinels, who have credentials of their own.
        sentinel_password: Password at the sentinels.
        db: Database number (a cluster has only 0, but for Valkey 9's `cluster-databases`).
        tls: TLS settings, or None for plain TCP.
        protocol: 2 or 3; None speaks RESP3 and gives redis-py's default results.
        legacy_responses: As in redis-py: False gives its unified results.
        decode_responses: Whether replies are decoded to str.
        encoding: Codec of keys and values given as str.
        encoding_errors: The codec's error handler.
        client_name: Name shown by CLIENT LIST.
        socket_timeout: Seconds of silence after which a node is suspected.
        socket_connect_timeout: Seconds that one connect and its handshake may take.
        deadline: Seconds that one call may take, with all redirects, retries and waits.
        max_connections: Connections per node; an `AsyncCluster` has the one that all share besides.
        max_in_flight: Commands that may be under way on an `AsyncCluster`'s connection to a node;
            further ones wait.
        max_waiting: Calls that may wait for one sick shard; further ones fail at once.
        max_reply_bytes: The largest reply that is read, give or take 64 KiB; None reads any.
        socket_keepalive: Whether TCP keep-alive probes are on.
        retry: What is sent again when a reply was lost.
        read_from: Which nodes may answer reads; the primary alone unless told otherwise.
        availability_zone: Where this client runs, for `ReadFrom.SAME_ZONE`.
        address_remap: Called with (host, port) as the cluster tells it; returns what to connect to.
        hooks: Called with each event; see `clustercache.instrumentation`.
    """

    seeds: tuple[Address, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_provider: CredentialProvider | None = field(default=None, repr=False)
    service_name: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    db: int = 0
    tls: TLS | None = None
    protocol: int | None = None
    legacy_responses: bool = True
    decode_responses: bool = False
    encoding: str = "utf-8"
    encoding_errors: str = "strict"
    client_name: str | None = None
    socket_timeout: float = 1.0
    socket_connect_timeout: float = 1.0
    deadline: float = 10.0
    max_connections: int = 64
    max_in_flight: int = 10_000
    max_waiting: int = 128
    max_reply_bytes: int | None = None
    socket_keepalive: bool = True
    retry: RetryPolicy = RetryPolicy()
    read_from: ReadFrom = ReadFrom.PRIMARY
    availability_zone: str | None = None
    address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is opened."""
        for name in ("socket_timeout", "socket_connect_timeout", "deadline"):
            check_seconds(name, getattr(self, name))
        for name in ("decode_responses", "legacy_responses", "socket_keepalive"):
            if type(getattr(self, name)) is not bool:
                _refuse(f"{name} must be True or False")
        for name in ("max_connections", "max_in_flight", "max_waiting"):
            _check_whole(name, getattr(self, name), 1)
        _check_whole("db", self.db, 0)
        _check_whole("max_reply_bytes", self.max_reply_bytes or 65536, 65536)
        if self.protocol not in {None, 2, 3}:
            _refuse(f"protocol must be 2 or 3, not {self.protocol!r}")
        try:
            codecs.lookup(self.encoding)
            codecs.lookup_error(self.encoding_errors)
        except (LookupError, TypeError):
            _refuse("encoding must be a codec's name, and encoding_errors that of an error handler")
        if not self.seeds:
            _refuse("at least one address is needed")
        retry: object = self.retry
        if not isinstance(retry, RetryPolicy):
            _refuse("retry must be a RetryPolicy")
        self._check_sentinels()
        self.reads(self.read_from)
        if self.credential_provider and (self.username or self.password):
            _refuse("give either credential_provider or username and password")
        object.__setattr__(self, "hooks", _checked_hooks(self.hooks))

    def _check_sentinels(self) -> None:
        name = self.service_name
        if name is not None and name.split() != [name]:
            _refuse("service_name is not empty and has no spaces in it")
        if name is None and (self.sentinel_username or self.sentinel_password):
            _refuse("sentinel_* options need a redis+sentinel:// URL, or service_name")

    @property
    def patience(self) -> float:
        """Seconds of silence that a call waits for at once: its deadline may be the nearer."""
        return min(self.socket_timeout, self.deadline)

    @property
    def recodes(self) -> bool:
        """Whether str is encoded in another way than hiredis does it."""
        return codecs.lookup(self.encoding).name != "utf-8" or self.encoding_errors != "strict"

    def recode(self, args: Iterable[Any]) -> list[Any]:
        """Return arguments with each str encoded."""
        codec, errors = self.encoding, self.encoding_errors
        with suppress(UnicodeError):  # its own error would hold the text
            return [arg.encode(codec, errors) if isinstance(arg, str) else arg for arg in args]
        msg = f"an argument cannot be encoded in {codec}"
        raise InvalidArgumentError(msg)

    def reads(self, read_from: ReadFrom) -> ReadFrom:
        """Return a policy with this client's zone in it, where it needs one and names none.

        Raises:
            ConfigurationError: No zone is known, or it is no policy.
        """
        given: object = read_from
        if not isinstance(given, ReadFrom):
            _refuse("read_from must be a ReadFrom, as in ReadFrom.PREFER_REPLICA")
        if not read_from.by_zone:
            return read_from
        zone: object = read_from.zone or self.availability_zone
        if not isinstance(zone, str) or not zone:
            _refuse("SAME_ZONE needs availability_zone=, or ReadFrom.same_zone(its name)")
        return ReadFrom.same_zone(str(zone))

    def credentials(self) -> tuple[str | None, str | None]:
        """Return (username, password) for the next connection."""
        if self.credential_provider is None:
            return self.username, self.password
        return self.named(self.credential_provider.get_credentials())

    @staticmethod
    def named(given: tuple[str] | tuple[str, str]) -> tuple[str | None, str]:
        """Return (username, password) of what a provider gave."""
        return (given[0], given[1]) if len(given) > 1 else (None, given[0])


def _checked_hooks(hooks: Any) -> tuple[Hook, ...]:
    if not isinstance(hooks, (list, tuple)) or not all(map(callable, hooks)):
        _refuse("hooks must be a list of functions that take one event")
    return tuple(hooks)


def _check_whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        _refuse(f"{name} must be a whole number of at least {least}")


def _refuse(message: str) -> None:
    raise ConfigurationError(message)


def check_seconds(name: str, value: object) -> None:
    """Refuse what is no number of seconds; a timeout of weeks is a mistake, too."""
    if type(value) not in {int, float} or not 0 < value <= _LONGEST:  # type: ignore[operator]
        _refuse(f"{name} must be a number of seconds above 0, and at most {_LONGEST}")


_TLS_FIELDS = {f.name for f in dataclasses.fields(TLS)}
_FIELDS = {f.name for f in dataclasses.fields(ClusterConfig)} - {"seeds", "tls"}
# redis-py's spelling of a TLS option is "ssl_" and our field, but for these.
_TLS_NAMES = {"ssl_min_version": "min_version", "ssl_server_name": "server_name"}


def from_url(urls: str | Iterable[str], **options: Any) -> ClusterConfig:
    """Return the configuration that one URL, or several of the same cluster, and options describe.

    Args:
        urls: ``redis[s]://`` or ``valkey[s]://[[user]:password@]host[:port][/db][?option=value]``;
            ``addr=host:port`` may be repeated for more seeds. Sentinels stand in
            ``redis[s]+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db]``,
            with the credentials of the servers that they watch.
        options: Fields of `ClusterConfig` and redis-py's ``ssl_*`` names; they win over the URL's.

    Raises:
        ConfigurationError: A scheme, option, port or value is unknown or out of range, or two URLs
            contradict each other.
    """
    parsed = [parse_url(url) for url in _listed(urls)]
    if not parsed:
        _refuse("at least one URL is needed")
    seeds = tuple(dict.fromkeys(seed for one in parsed for seed in one.pop("seeds")))
    if any(one != parsed[0] for one in parsed):
        _refuse("the URLs differ in more than their addresses")
    if parsed[0].get("ssl") and options.get("ssl") is False:
        _refuse("the URL's scheme asks for TLS and ssl=False forbids it")
    return build({**parsed[0], **options}, seeds)


def build(options: Mapping[str, Any], seeds: tuple[Address, ...]) -> ClusterConfig:
    """Return a ClusterConfig from redis-py style keyword arguments."""
    fields: dict[str, Any] = {}
    tls: dict[str, Any] = {}
    use_tls = options.get("ssl", False)
    if type(use_tls) is not bool:
        _refuse("ssl must be True or False")
    for name, value in options.items():
        short = _TLS_NAMES.get(name, name.removeprefix("ssl_"))
        if name == "protocol" and value in {"2", "3"}:
            fields[name] = int(value)  # redis-py takes it as text, too
        elif name in _FIELDS:
            fields[name] = value
        elif name.startswith("ssl_") and short in _TLS_FIELDS:
            tls[short] = str(value) if short == "cert_reqs" else value
        elif name != "ssl":
            _refuse(f"unknown option {name!r}; known are: {', '.join(sorted(_FIELDS))}, ssl, ssl_*")
    if tls and not use_tls:
        _refuse("ssl_* options need a rediss:// or valkeys:// URL, or ssl=True")
    return ClusterConfig(seeds=seeds, tls=TLS(**tls) if use_tls else None, **fields)


def _listed(urls: Any) -> list[Any]:
    several = isinstance(urls, Iterable) and not isinstance(urls, (str, bytes))
    return list(urls) if several else [urls]
