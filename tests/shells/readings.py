"""What the tests of reads by policy share."""

from __future__ import annotations

import threading
import time

from clustercache import Cluster, ReadFrom

KEY, OTHER = "bar", "foo"

SPREADING = [ReadFrom.PREFER_REPLICA, ReadFrom.ROUND_ROBIN, ReadFrom.LOWEST_LATENCY]
LINK_DOWN = b"role:slave\r\nmaster_link_status:down\r\n"
LINK_UP = b"role:slave\r\nmaster_link_status:up\r\n"


def client_of(fake, policy, **options):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | options
    return Cluster.from_url(fake.url, read_from=policy, **options)


def gets(nodes, name="GET"):
    return [len(node.received(name)) for node in nodes]


def wait_until(condition, timeout=5.0):
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true"
        threading.Event().wait(0.005)


def kill(node):
    """End a primary; until one is promoted, the others go on to name it."""
    node.stop_accepting()
    node.drop_connections()


def stats_of(client, node):
    return client.stats()["nodes"][node.address]


# Where reads go ----------------------------------------------------------------------------------
