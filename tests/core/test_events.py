"""Events are frozen records without secrets, and each has one line in the log."""

from __future__ import annotations

import dataclasses
import logging
import pickle
from pathlib import Path

import pytest

from clustercache import instrumentation
from clustercache._core.address import Address
from clustercache._core.decisions import Decision, Event, Trouble, Verb
from clustercache.instrumentation.hooks import Observer
from clustercache.instrumentation.logs import log

NODE = Address("h", 1)
LINES = {
    "CommandDone": (
        {"command": "GET", "slot": 5, "node": "h:1", "seconds": 0.25, "error": "OSError"},
        "command_done command=GET slot=5 node=h:1 seconds=0.250000 attempts=1 error=OSError size=1",
        logging.DEBUG,
    ),
    "Redirected": (
        {"command": "GET", "by": "ask", "slot": 0, "node": "h:1", "to": "i:2", "attempt": 1},
        "redirected command=GET by=ask slot=0 node=h:1 to=i:2 attempt=1",
        logging.DEBUG,
    ),
    "Retried": (
        {
            "command": "PING",
            "reason": "no_reply",
            "slot": None,
            "node": "h:1",
            "pause": 0.0,
            "attempt": 2,
        },
        "retried command=PING reason=no_reply node=h:1 pause=0.000000 attempt=2",
        logging.DEBUG,
    ),
    "RefreshDone": (
        {"answered": 1, "failed": ("h:1", "i:2"), "seconds": 1.0},
        "refresh_done answered=1 failed=h:1,i:2 seconds=1.000000",
        logging.INFO,
    ),
    "TopologyChanged": (
        {"nodes": 6, "shards": 3},
        "topology_changed nodes=6 shards=3 provisional=no",
        logging.INFO,
    ),
    "NodeSuspected": ({"node": "h:1"}, "node_suspected node=h:1", logging.WARNING),
    "NodeBack": ({"node": "h:1"}, "node_back node=h:1", logging.WARNING),
    "NodeReplaced": ({"node": "h:1"}, "node_replaced node=h:1", logging.WARNING),
    "PoolWaited": (
        {"node": "h:1", "seconds": 0.5},
        "pool_waited node=h:1 seconds=0.500000",
        logging.DEBUG,
    ),
    "PubSubGap": (
        {"reason": "the connection was lost"},
        'pubsub_gap reason="the connection was lost"',
        logging.WARNING,
    ),
    "SessionCreated": ({"session": "5e55"}, "session_created session=5e55", logging.INFO),
    "SessionRotated": (
        {"session": "5e55", "reason": "login"},
        "session_rotated session=5e55 reason=login",
        logging.INFO,
    ),
    "SessionDeleted": (
        {"session": "5e55", "reason": "logout"},
        "session_deleted session=5e55 reason=logout",
        logging.INFO,
    ),
    "SessionUnknown": ({"reason": "malformed"}, "session_unknown reason=malformed", logging.INFO),
    "SessionRefused": ({"session": "5e55"}, "session_refused session=5e55", logging.INFO),
    "SessionStale": ({"session": "5e55"}, "session_stale session=5e55", logging.WARNING),
    "SessionUnavailable": (
        {"error": "ShardUnavailableError"},
        "session_unavailable error=ShardUnavailableError",
        logging.WARNING,
    ),
    "SessionFieldDropped": (
        {"session": "5e55", "field": "cart", "reason": "TaggedJSON cannot read it"},
        'session_field_dropped session=5e55 field=cart reason="TaggedJSON cannot read it"',
        logging.WARNING,
    ),
    "CacheFailed": (
        {"command": "fill", "error": "ShardUnavailableError"},
        "cache_failed command=fill error=ShardUnavailableError",
        logging.WARNING,
    ),
    "CacheComputed": (
        {"function": "shop.product", "seconds": 0.25, "error": "KeyError"},
        "cache_computed function=shop.product seconds=0.250000 error=KeyError",
        logging.DEBUG,
    ),
    "StaleServed": (
        {"function": "shop.product"},
        "stale_served function=shop.product",
        logging.DEBUG,
    ),
    "CacheInvalidated": (
        {"what": "tags", "count": 2},
        "cache_invalidated what=tags count=2",
        logging.DEBUG,
    ),
}
BASES = {"Event", "SessionEvent"}


def test_every_event_has_a_line_in_this_table():
    assert {*LINES, *BASES, "Hook"} == set(instrumentation.__all__)


def test_every_event_has_its_place_in_the_page():
    page = Path(__file__).parents[2] / "docs" / "instrumentation.md"
    rows = "".join(x for x in page.read_text().splitlines() if x.startswith("|"))
    assert [name for name in LINES if f"`{name}`" not in rows] == []


@pytest.mark.parametrize("name", LINES)
def test_an_event_is_frozen_and_can_be_pickled(name):
    facts, line, _ = LINES[name]
    event = getattr(instrumentation, name)(**facts)
    assert pickle.loads(pickle.dumps(event)) == event
    assert line.startswith(event.kind)
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        event.node = "other"
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("name", LINES)
def test_an_event_is_logged_as_its_kind_and_its_facts(name, caplog):
    facts, line, level = LINES[name]
    event = getattr(instrumentation, name)(**facts)
    with caplog.at_level(logging.DEBUG, "clustercache"):
        log(event)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelno) == (line, level)
    assert record.name.startswith("clustercache.")
    for fact, value in event.facts().items():
        assert record.__dict__[f"clustercache.{fact}"] == value


def test_a_refresh_in_which_all_answered_is_nothing_to_log_by_default(caplog):
    with caplog.at_level(logging.INFO, "clustercache"):
        log(instrumentation.RefreshDone(answered=3, seconds=0.1))
    assert not caplog.records


def test_an_event_of_another_kind_is_logged_too(caplog):
    class Other(instrumentation.Event):
        kind = "other"

    with caplog.at_level(logging.DEBUG, "clustercache"):
        log(Other())
    assert caplog.messages == ["other"]


def test_the_first_error_of_a_hook_is_logged_and_the_others_are_told_all_the_same(caplog):
    told = []

    def broken(event):
        raise ValueError(event.kind)

    observer = Observer([broken, told.append])
    events = [instrumentation.NodeBack(node="h:1"), instrumentation.NodeReplaced(node="h:1")]
    for event in events:
        observer.tell(event)
    assert told == events
    failures = [record for record in caplog.records if "hook_failed" in record.message]
    assert len(failures) == 1
    assert "broken" in failures[0].message
    assert failures[0].exc_info[0] is ValueError


def test_what_ends_the_program_ends_it_also_in_a_hook():
    def interrupted(_):
        raise KeyboardInterrupt

    observer = Observer([interrupted])
    with pytest.raises(KeyboardInterrupt):
        observer.tell(instrumentation.PubSubGap(reason="x"))
    assert not observer.trail.silent


def test_what_a_hook_causes_is_told_to_no_hook():
    told = []

    def hook(event):
        told.append(event)
        observer.tell(event)

    observer = Observer([hook])
    observer.tell(instrumentation.PubSubGap(reason="x"))
    assert len(told) == 1


def facts_of(node):
    return {"command": "GET", "slot": 7, "node": str(node) if node else ""}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (
            Event(Trouble.MOVED, NODE, Address("i", 2), 9),
            "redirected command=GET by=moved slot=9 node=h:1 to=i:2 attempt=3",
        ),
        (
            Event(Trouble.UNCOVERED, None),
            "retried command=GET reason=uncovered slot=7 pause=0.500000 attempt=3",
        ),
    ],
)
def test_what_is_sent_again_is_told(event, told):
    heard = []
    observer = Observer([heard.append])
    observer.decided(facts_of, event, Decision(Verb.SEND, pause=0.5), 3)
    assert list(map(str, heard)) == [told]
    assert observer.trail.attempts == 4


def test_what_ends_in_an_error_is_no_retry():
    heard = []
    observer = Observer([heard.append])
    observer.decided(facts_of, Event(Trouble.ERROR, NODE), Decision(Verb.RAISE_REPLY), 1)
    assert not heard
    assert observer.trail.attempts == 1


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_retries_are_logged_for_debugging_although_nobody_is_hooked_on(level, caplog):
    with caplog.at_level(level, "clustercache"):
        Observer().decided(facts_of, Event(Trouble.TRYAGAIN, NODE), Decision(Verb.SEND), 1)
    assert len(caplog.records) == (level == logging.DEBUG)


def test_where_a_call_went_is_told_once_for_each_node_and_the_last_one_last():
    observer = Observer([print])
    for node in (NODE, Address("i", 2), NODE):
        observer.sent_to(node)
    assert observer.trail.nodes == (Address("i", 2), NODE)
