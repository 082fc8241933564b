"""Subscribers get messages again soon after a promotion or a move, and are told of the gap."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from clustercache import Cluster
from clustercache._core.messages import BACK
from clustercache._core.slots import key_slot
from clustercache.exceptions import OutcomeUnknownError
from clustercache.localcluster import LocalCluster
from tests.clusters import need_server
from tests.faults.calls import tags_of
from tests.faults.strikes import PROMOTED, promoted_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clustercache.localcluster import Node

pytestmark = pytest.mark.faults
SOON = 1.0
"""Seconds from a promotion or a move to the next message, at the most."""
CHANNELS = 4
"""Shard channels on the shard that is hit."""
PAUSE = 0.01
"""Seconds between two rounds of publishing."""


class Publisher:
    """A thread that publishes the time on shard channels, and sets keys, by its own client."""

    def __init__(self, url: str, channels: list[str], keys: list[str]) -> None:
        self._url = url
        self._channels = channels
        self._keys = keys
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Cluster.from_url(self._url, deadline=60.0) as client:
            while not self._stop.wait(PAUSE):
                for channel in self._channels:
                    # One whose reply was lost with its node is not sent again.
                    with suppress(OutcomeUnknownError):
                        client.spublish(channel, monotonic())
                for key in self._keys:
                    client.set(key, "v")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(90)


class Heard(NamedTuple):
    """When a message was sent, where it says so, and when it came."""

    sent: float
    came: float


class Listener:
    """Remembers when which message came, in one PubSub of a client that does nothing else."""

    def __init__(self, ps: Any) -> None:
        self._ps = ps
        self.heard: dict[str, list[Heard]] = {}
        self.gaps: list[tuple[str, str]] = []

    def listen(self, until: Callable[[], object], timeout: float = PROMOTED) -> None:
        """Listen until a condition holds."""
        limit = monotonic() + timeout
        while not until():
            assert monotonic() < limit, f"it did not come true; gaps: {self.gaps}"
            one = self._ps.get_message(timeout=0.05)
            if one is None:
                continue
            channel = one["channel"].decode()
            if one["type"] == "gap":
                self.gaps.append((channel, one["data"]))
            elif one["type"] in {"message", "smessage", "pmessage"}:
                came = monotonic()
                sent = came if one["type"] == "pmessage" else float(one["data"])
                self.heard.setdefault(channel, []).append(Heard(sent, came))

    def all_heard_since(self, names: list[str], moment: float) -> bool:
        """Tell whether what was sent after `moment` came on all of them."""
        never = [Heard(0.0, 0.0)]
        return all(self.heard.get(name, never)[-1].sent > moment for name in names)

    def first_after(self, name: str, moment: float) -> float:
        """Return the seconds from `moment` to the first message on a channel after it."""
        return min(one.came for one in self.heard[name] if one.sent > moment) - moment

    def gap_has_ended(self, name: str) -> bool:
        told = [reason for channel, reason in self.gaps if channel == name]
        return told[-1:] == [BACK]

    def check_gaps(self, names: list[str]) -> None:
        assert all(self.gap_has_ended(name) for name in names), self.gaps


def names_on(lc: LocalCluster, node: Node) -> tuple[list[str], str]:
    """Return shard channels and a key that a node serves."""
    *tags, last = tags_of(lc, node, CHANNELS + 1)
    return [f"shard:{{{tag}}}" for tag in tags], f"key:{{{last}}}"


def promotion_of(replica: Node, listener: Listener) -> float:
    """Listen until a replica is promoted; return when it was, in monotonic seconds."""
    listener.listen(lambda: replica.call("ROLE")[0] == "master")
    return promoted_at(replica)


@pytest.mark.parametrize(
    ("shell", "fault", "server"),
    [
        ("sync", "kill", "valkey"),
        ("sync", "stop", "valkey"),
        ("sync", "kill", "redis-7.0"),
        ("asyncio", "kill", "valkey"),
    ],
    indirect=["shell"],
)
def test_subscribers_hear_again_after_a_promotion(
    connect: Any, fault: str, server: str, report: Any
) -> None:
    config = {"notify-keyspace-events": "KEA"}
    with LocalCluster(server=need_server(server).path, config=config) as lc:
        victim, *_ = lc.primaries
        (replica,) = lc.replicas_of(victim)
        channels, key = names_on(lc, victim)
        events = f"__keyspace@0__:{key}"
        pattern = "__keyspace@0__:key:*"
        everything = [*channels, events]
        publisher = Publisher(lc.url, channels, [key])
        with connect(lc.url) as client, client.pubsub() as ps, publisher.at_work():
            ps.ssubscribe(*channels)
            ps.keyspace("key:*")
            listener = Listener(ps)
            listener.listen(lambda: listener.all_heard_since(everything, 0.0))
            (lc.kill if fault == "kill" else lc.stop)(victim)
            promotion = promotion_of(replica, listener)
            listener.listen(lambda: listener.all_heard_since(everything, promotion), 10.0)
            for name in everything:
                took = listener.first_after(name, promotion)
                report("heard_again_seconds", took)
                assert took <= SOON
            listener.check_gaps([*channels, pattern])
            (lc.resume if fault == "stop" else lc.restart)(victim)
            lc.wait_ready()
            back = monotonic()
            listener.listen(lambda: listener.all_heard_since(everything, back + 0.5), 10.0)


@pytest.mark.parametrize(
    ("shell", "fault"),
    [("sync", "kill"), ("sync", "stop"), ("asyncio", "kill"), ("asyncio", "stop")],
    indirect=["shell"],
)
def test_a_plain_subscriber_of_the_node_that_is_hit_hears_again_from_another(
    connect: Any, fault: str, report: Any
) -> None:
    with LocalCluster() as lc, connect(lc.url) as client, client.pubsub() as ps:
        ps.subscribe("news")
        home = ps._subscriber.state.home
        victim = next(node for node in lc.primaries if node.address == home)
        other = next(node for node in lc.primaries if node is not victim)
        listener = Listener(ps)

        def published_and_heard(since: float) -> bool:
            other.call("PUBLISH", "news", monotonic())
            return listener.all_heard_since(["news"], since)

        listener.listen(lambda: published_and_heard(0.0))
        (lc.kill if fault == "kill" else lc.stop)(victim)
        hit = monotonic()
        listener.listen(lambda: listener.gap_has_ended("news"))
        listener.listen(lambda: published_and_heard(hit))
        took = listener.first_after("news", hit)
        report("heard_again_seconds", took)
        # Silence is believed after twice socket_timeout; nobody waits for a promotion here.
        assert took <= (0.5 if fault == "kill" else 3.0)
        listener.check_gaps(["news"])
        if fault == "stop":
            lc.resume(victim)


@pytest.mark.parametrize(
    ("shell", "server"),
    [("sync", "valkey"), ("sync", "redis-7.0"), ("asyncio", "valkey")],
    indirect=["shell"],
)
def test_subscribers_hear_again_after_a_slot_has_moved(
    connect: Any, server: str, report: Any
) -> None:
    with LocalCluster(server=need_server(server).path) as lc:
        source, target, _ = lc.primaries
        channels, _ = names_on(lc, source)
        publisher = Publisher(lc.url, channels, [])
        with connect(lc.url) as client, client.pubsub() as ps, publisher.at_work():
            ps.ssubscribe(*channels)
            listener = Listener(ps)
            for here, there in ((source, target), (target, source)):
                listener.gaps.clear()
                start = monotonic()
                listener.listen(lambda: listener.all_heard_since(channels, start))  # noqa: B023 - called at once
                for channel in channels:
                    move(lc, key_slot(channel), here, there)
                moved = monotonic()
                listener.listen(lambda: listener.all_heard_since(channels, moved), 10.0)  # noqa: B023 - called at once
                for channel in channels:
                    took = listener.first_after(channel, moved)
                    report("heard_again_seconds", took)
                    assert took <= SOON
                listener.check_gaps(channels)


def move(lc: LocalCluster, slot: int, source: Node, target: Node) -> None:
    """Move an empty slot."""
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    for node in (target, source, *lc.primaries):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)


def test_a_keyspace_iterator_joins_a_primary_that_is_new(connect: Any, report: Any) -> None:
    config = {"notify-keyspace-events": "KEA"}
    with LocalCluster(config=config) as lc:
        source = lc.primaries[0]
        _, key = names_on(lc, source)
        events = f"__keyspace@0__:{key}"
        publisher = Publisher(lc.url, [], [key])
        with connect(lc.url) as client, client.pubsub() as ps:
            ps.keyspace()
            listener = Listener(ps)
            target = lc.add_node()
            with publisher.at_work():
                listener.listen(lambda: listener.all_heard_since([events], 0.0))
                slot = key_slot(key)
                target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
                source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
                while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 10):
                    source.call("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
                for node in (target, source, *lc.primaries):
                    node.call("CLUSTER", "SETSLOT", slot, "NODE", target.node_id)
                moved = monotonic()
                client.get(key)  # its MOVED is what tells this client
                listener.listen(lambda: listener.gap_has_ended("__keyspace@0__:*"), 10.0)
                joined = monotonic()
                report("joined_seconds", joined - moved)
                assert joined - moved <= SOON
                listener.listen(lambda: listener.all_heard_since([events], joined), 10.0)
