"""Who is measured. A new contender is a `Contender` in `CONTENDERS`, and a function to connect it.

Each is used as its own constructor makes it, and imported only in its own process. Those that run
on a loop are listed in `acontenders`, sites with sessions in `sites`, caches in `cachings`; what a
name stands for there may be another client.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.acontenders import ON_LOOPS
from tests.bench.cachings import ON_CACHES, PLAIN
from tests.bench.floor import Floor
from tests.bench.holdings import Holdings
from tests.bench.loops import LOOPS, THREADS, LoopSession
from tests.bench.sites import CLUSTER, COOKIE, ON_SITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.visits import Site


@dataclass(frozen=True, slots=True)
class Contender:
    """One client, one site, or one cache.

    Attributes:
        name: For the command line and the report.
        connect: Returns its session, given the (host, port) of one node.
        packages: The distributions whose versions matter.
        runs_on: `loops.THREADS`, one of `loops.LOOPS`, of `sites.FRAMEWORKS` or of
            `cachings.CACHES`; a name stands once for each.
        server: `sites.CLUSTER`, `sites.STANDALONE`, or None for what uses none.
        referee: Returns what its checks are made with, given the same address.
    """

    name: str
    connect: Callable[[tuple[str, int]], Session | FloorSession | LoopSession | Site]
    packages: tuple[str, ...]
    runs_on: str = THREADS
    server: str | None = CLUSTER
    referee: Callable[[tuple[str, int]], Floor | Holdings] = Floor


class Session:
    """A connected client that all threads share."""

    def __init__(self, client, **operations):
        self._client = client
        self._operations = operations

    def operation(self, name, thread):
        """Return the function that does an operation in this thread (counted from 0)."""
        return self._operations[name]

    def close(self):
        self._client.close()


class FloorSession:
    """A set of sockets for each thread."""

    def __init__(self, address):
        self._address = address
        self._floors = []

    def operation(self, name, thread):
        while len(self._floors) <= thread:
            self._floors.append(Floor(self._address))
        return getattr(self._floors[thread], name)

    def close(self):
        for floor in self._floors:
            floor.close()


def _url(address):
    return f"redis://{address[0]}:{address[1]}"


def _clustercache(address):
    from clustercache import Cluster

    client = Cluster.from_url(_url(address))
    return Session(
        client, get=client.get, set=client.set, mget=client.mget, pipeline=_piped(client)
    )


def _piped(client):
    """Return what sends one GET for each key in a pipeline, by redis-py's API."""

    def pipeline(keys):
        pipe = client.pipeline()
        for key in keys:
            pipe.get(key)
        return pipe.execute()

    return pipeline


def _redis_py(address):
    from redis.cluster import RedisCluster

    client = RedisCluster.from_url(_url(address))
    mget = client.mget_nonatomic
    return Session(client, get=client.get, set=client.set, mget=mget, pipeline=_piped(client))


def _valkey_py(address):
    from valkey.cluster import ValkeyCluster

    client = ValkeyCluster.from_url(_url(address))
    mget = client.mget_nonatomic
    return Session(client, get=client.get, set=client.set, mget=mget, pipeline=_piped(client))


def _valkey_glide(address):
    from glide_sync import (
        ClusterBatch,
        GlideClusterClient,
        GlideClusterClientConfiguration,
        NodeAddress,
    )

    # Its default of 250 ms is short of what a busy machine may need; it costs nothing to wait.
    config = GlideClusterClientConfiguration([NodeAddress(*address)], request_timeout=5000)
    client = GlideClusterClient.create(config)

    def pipeline(keys):
        batch = ClusterBatch(is_atomic=False)
        for key in keys:
            batch.get(key)
        return client.exec(batch, raise_on_error=True)

    return Session(client, get=client.get, set=client.set, mget=client.mget, pipeline=pipeline)


FLOOR = "floor"
BASES = (FLOOR, COOKIE, PLAIN)  # what others are multiples of
CONTENDERS = [
    Contender(FLOOR, FloorSession, ("hiredis",)),
    Contender("clustercache", _clustercache, ("clustercache", "hiredis", "redis")),
    Contender("redis-py", _redis_py, ("redis", "hiredis")),
    Contender("valkey-py", _valkey_py, ("valkey", "libvalkey")),
    Contender("valkey-glide", _valkey_glide, ("valkey-glide-sync",)),
    *(
        Contender(
            name,
            partial(LoopSession, loop, connect),
            packages if loop == "asyncio" else (*packages, loop),
            runs_on=loop,
        )
        for loop in LOOPS
        for name, connect, packages in ON_LOOPS
    ),
    *(
        Contender(name, connect, packages, framework, server, Holdings)
        for framework, sites in ON_SITES.items()
        for name, connect, packages, server in sites
    ),
    *(
        Contender(name, connect, packages, kind, server, Holdings)
        for kind, caches in ON_CACHES.items()
        for name, connect, packages, server in caches
    ),
]


def of_kind(runs_on, contenders=CONTENDERS):
    """Return the contenders that run on this."""
    return [contender for contender in contenders if contender.runs_on == runs_on]
