"""What a new connection says first, and as whom. Both shells use it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from clustercache._core import wire

if TYPE_CHECKING:
    from clustercache.config import ClusterConfig

LIBRARY = ("clustercache", "0.1.0")


def handshake_steps(
    config: ClusterConfig,
    *,
    readonly: bool = False,
    credentials: tuple[str | None, str | None] | None = None,
) -> list[tuple[tuple[Any, ...], bool]]:
    """Return what a new connection says first, as (command, must it succeed) pairs.

    Args:
        config: Credentials, protocol, database and names.
        readonly: Whether the node, being a replica, is to serve reads of its shard's slots.
        credentials: (username, password), if the provider was asked already.
    """
    username, password = credentials or config.credentials()
    steps = wire.handshake(
        protocol=3 if config.protocol is None else config.protocol,
        username=username,
        password=password,
        client_name=config.client_name,
        db=config.db,
        library=LIBRARY,
    )
    if readonly:
        # A replica outside of a cluster refuses it, and serves reads all the same.
        steps.append((("READONLY",), False))
    return steps


def for_probes(config: ClusterConfig) -> ClusterConfig:
    """Return the configuration of a connection whose replies the package reads itself."""
    return dataclasses.replace(config, decode_responses=False)


def for_sentinels(config: ClusterConfig) -> ClusterConfig:
    """Return the configuration of a connection to a sentinel: RESP2, which all of them speak."""
    return dataclasses.replace(
        for_probes(config),
        username=config.sentinel_username,
        password=config.sentinel_password,
        credential_provider=None,
        db=0,
        protocol=2,
    )
