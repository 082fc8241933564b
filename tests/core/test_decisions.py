"""THE table: from what went wrong, and what is known, to what happens next."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clustercache._core.address import Address
from clustercache._core.commands import Safety
from clustercache._core.decisions import (
    Attempt,
    Call,
    Decision,
    Event,
    Trouble,
    Verb,
    classify,
    decide,
    may_be_applied,
)
from clustercache._core.wire import ServerError

A, B, C = (Address(host, 7000) for host in "abc")
READ, SAME, COUNT, NEVER = Safety
USUAL = frozenset({READ, SAME, COUNT})
FIRST, LONGEST = BACKOFF = (0.01, 0.5)

MOVED_AB = Event(Trouble.MOVED, A, B, 42)
MOVED_BA = Event(Trouble.MOVED, B, A, 42)
MOVED_BC = Event(Trouble.MOVED, B, C, 42)
ASK_AB = Event(Trouble.ASK, A, B, 42)
LOST = Event(Trouble.NO_REPLY, A)
UNREADY = Event(Trouble.UNREADY, A)


def ask(event, *history, safety=READ, resend=USUAL, splittable=False, jitter=1.0):
    attempts = [Attempt(one, 0.1) for one in history]
    call = Call(safety, resend, splittable)
    return decide(event, call, attempts, backoff=BACKOFF, jitter=jitter)


def send(**facts):
    return Decision(Verb.SEND, **facts)


TABLE = {
    "MOVED is followed at once, patched and refreshed": (
        (MOVED_AB,),
        {"safety": NEVER},
        send(to=B, refresh=True, patch=True),
    ),
    "a login that is not accepted is tried once more, on a new connection": (
        (Event(Trouble.UNAUTHENTICATED, A),),
        {"safety": NEVER},
        send(reconnect=True),
    ),
    "a login that is refused again is an error": (
        (Event(Trouble.UNAUTHENTICATED, A), Event(Trouble.UNAUTHENTICATED, A)),
        {},
        Decision(Verb.RAISE_REPLY),
    ),
    "the second hop is free, for a promotion seen from afar needs it": (
        (MOVED_BC, MOVED_AB),
        {},
        send(to=C, refresh=True, patch=True),
    ),
    "after three hops a redirect waits": (
        (MOVED_BC, MOVED_AB, ASK_AB, ASK_AB),
        {},
        send(to=C, refresh=True, patch=True, pause=FIRST),
    ),
    "a node that sends us to where we came from is reconnected, not believed": (
        (MOVED_BA, MOVED_AB),
        {},
        send(to=A, refresh=True, reconnect=True, pause=FIRST),
    ),
    "a node that sends us to itself is reconnected, not believed": (
        (Event(Trouble.MOVED, A, A, 42),),
        {},
        send(to=A, refresh=True, reconnect=True, pause=FIRST),
    ),
    "ASK goes with ASKING and leaves the map alone": (
        (ASK_AB,),
        {"safety": NEVER},
        send(to=B, asking=True),
    ),
    "an ASK storm waits": (
        (ASK_AB, ASK_AB, ASK_AB, ASK_AB, ASK_AB),
        {},
        send(to=B, asking=True, pause=2 * FIRST),
    ),
    "TRYAGAIN waits where there is one key": (
        (Event(Trouble.TRYAGAIN, A),),
        {},
        send(pause=FIRST),
    ),
    "TRYAGAIN splits where there are more": (
        (Event(Trouble.TRYAGAIN, A),),
        {"splittable": True},
        Decision(Verb.SPLIT),
    ),
    "an unready node is waited for": (
        (UNREADY,),
        {"safety": NEVER},
        send(pause=FIRST, refresh=True),
    ),
    "a node that became a replica is looked up anew": (
        (Event(Trouble.READONLY, A),),
        {"safety": NEVER},
        send(pause=FIRST, refresh=True),
    ),
    "a blocking call that a demoted node let go is sent again": (
        (Event(Trouble.UNBLOCKED, A),),
        {"safety": NEVER},
        send(pause=FIRST, refresh=True),
    ),
    "a slot without an owner is waited for": (
        (Event(Trouble.UNCOVERED, slot=42),),
        {"safety": NEVER},
        send(pause=FIRST, refresh=True),
    ),
    "a node that takes no connection is suspected": (
        (Event(Trouble.UNREACHABLE, A),),
        {"safety": NEVER},
        send(pause=FIRST, refresh=True, suspect=True),
    ),
    "a write that broke off is repeated at once, whatever the class": (
        (Event(Trouble.BROKEN_OFF, A),),
        {"safety": NEVER},
        send(),
    ),
    "a write that breaks off again waits": (
        (Event(Trouble.BROKEN_OFF, A), UNREADY),
        {"safety": NEVER},
        send(pause=2 * FIRST),
    ),
    "READ is repeated at once when its reply was lost": (
        (LOST,),
        {"safety": READ},
        send(refresh=True),
    ),
    "SAME is repeated": ((LOST,), {"safety": SAME}, send(refresh=True)),
    "COUNT is repeated": ((LOST,), {"safety": COUNT}, send(refresh=True)),
    "NEVER is not": ((LOST,), {"safety": NEVER}, Decision(Verb.RAISE_UNKNOWN, refresh=True)),
    "a policy widens what is repeated": (
        (LOST,),
        {"safety": NEVER, "resend": frozenset(Safety)},
        send(refresh=True),
    ),
    "a policy narrows what is repeated": (
        (LOST,),
        {"safety": SAME, "resend": frozenset({READ})},
        Decision(Verb.RAISE_UNKNOWN, refresh=True),
    ),
    "a reply lost again waits": ((LOST, LOST), {}, send(refresh=True, pause=2 * FIRST)),
    "the deadline ends it": ((Event(Trouble.EXPIRED, A),), {}, Decision(Verb.RAISE_DEADLINE)),
    "nothing outstanding, nothing unknown": (
        (Event(Trouble.EXPIRED, A), UNREADY, MOVED_AB),
        {"safety": NEVER},
        Decision(Verb.RAISE_DEADLINE),
    ),
    "the deadline with a reply outstanding": (
        (Event(Trouble.EXPIRED_UNANSWERED, A),),
        {"safety": COUNT},
        Decision(Verb.RAISE_DEADLINE),
    ),
    "the deadline with the reply of a NEVER outstanding": (
        (Event(Trouble.EXPIRED_UNANSWERED, A),),
        {"safety": NEVER},
        Decision(Verb.RAISE_UNKNOWN),
    ),
    "the deadline after a lost reply of a NEVER that was repeated": (
        (Event(Trouble.EXPIRED, A), LOST),
        {"safety": NEVER, "resend": frozenset(Safety)},
        Decision(Verb.RAISE_UNKNOWN),
    ),
    "any other error is the caller's": (
        (Event(Trouble.ERROR, A),),
        {"safety": NEVER},
        Decision(Verb.RAISE_REPLY),
    ),
    "a reply that is too large is not asked for again": (
        (Event(Trouble.TOO_LARGE, A),),
        {},
        Decision(Verb.RAISE_TOO_LARGE),
    ),
    "a full pool is not a sick node": (
        (Event(Trouble.POOL_FULL, A),),
        {},
        Decision(Verb.RAISE_POOL_FULL),
    ),
    "a crowd before a sick shard is not joined": (
        (Event(Trouble.CROWDED, A),),
        {},
        Decision(Verb.RAISE_CROWDED),
    ),
    "a closed client stays closed": ((Event(Trouble.CLOSED),), {}, Decision(Verb.RAISE_CLOSED)),
}


@pytest.mark.parametrize(("events", "call", "decision"), TABLE.values(), ids=TABLE)
def test_the_table(events, call, decision):
    assert ask(*events, **call) == decision


def test_the_table_test_knows_every_trouble():
    assert {events[0].trouble for events, _, _ in TABLE.values()} == set(Trouble)


def test_pauses_double_up_to_the_longest_and_redirects_do_not_count():
    pauses = [ask(UNREADY, *[UNREADY] * count).pause for count in range(8)]
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert ask(UNREADY, MOVED_AB, ASK_AB, MOVED_AB).pause == FIRST
    assert ask(UNREADY, *[UNREADY] * 10_000).pause == LONGEST


def test_pauses_are_jittered():
    assert ask(UNREADY, jitter=0.0).pause == FIRST / 2
    assert ask(UNREADY, jitter=1.0).pause == FIRST


# --------------------------------------------------------------------- what a server's error means


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("MOVED 42 10.0.0.1:7001", Event(Trouble.MOVED, A, Address("10.0.0.1", 7001), 42)),
        ("MOVED 42 :7001", Event(Trouble.MOVED, A, Address("a", 7001), 42)),
        ("MOVED 42 2001:db8::1:7001", Event(Trouble.MOVED, A, Address("2001:db8::1", 7001), 42)),
        ("MOVED 42 n1.example:7001", Event(Trouble.MOVED, A, Address("n1.example", 7001), 42)),
        ("ASK 42 10.0.0.1:7001", Event(Trouble.ASK, A, Address("10.0.0.1", 7001), 42)),
        ("ASK 42 :7001", Event(Trouble.ASK, A, Address("a", 7001), 42)),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Event(Trouble.TRYAGAIN, A)),
        ("CLUSTERDOWN Hash slot not served", Event(Trouble.UNREADY, A)),
        ("CLUSTERDOWN The cluster is down", Event(Trouble.UNREADY, A)),
        ("LOADING Redis is loading the dataset in memory", Event(Trouble.UNREADY, A)),
        ("LOADING Valkey is loading the dataset in memory", Event(Trouble.UNREADY, A)),
        ("MASTERDOWN Link with MASTER is down", Event(Trouble.UNREADY, A)),
        ("READONLY You can't write against a read only replica.", Event(Trouble.READONLY, A)),
        (
            "UNBLOCKED force unblock from blocking operation, instance state changed",
            Event(Trouble.UNBLOCKED, A),
        ),
        ("UNBLOCKED client unblocked via CLIENT UNBLOCK", Event(Trouble.ERROR, A)),
        ("UNBLOCKED the stream key no longer exists", Event(Trouble.ERROR, A)),
        ("ERR max number of clients reached", Event(Trouble.UNREADY, A)),
        ("ERR max number of clients + cluster connections reached", Event(Trouble.UNREADY, A)),
        ("WRONGTYPE Operation against a key", Event(Trouble.ERROR, A)),
        ("ERR unknown command 'X'", Event(Trouble.ERROR, A)),
        ("MOVEDX 42 10.0.0.1:7001", Event(Trouble.ERROR, A)),
        ("", Event(Trouble.ERROR, A)),
        # Not the form that the specification gives: nothing to follow.
        ("MOVED", Event(Trouble.ERROR, A)),
        ("MOVED 42", Event(Trouble.ERROR, A)),
        ("MOVED x 10.0.0.1:7001", Event(Trouble.ERROR, A)),
        ("MOVED 42 10.0.0.1", Event(Trouble.ERROR, A)),
        ("MOVED 42 10.0.0.1:0", Event(Trouble.ERROR, A)),
        ("MOVED 16384 10.0.0.1:7001", Event(Trouble.ERROR, A)),
        ("ASK -1 10.0.0.1:7001", Event(Trouble.ERROR, A)),
    ],
)
def test_a_servers_error_is_known_by_its_first_word(text, event):
    assert classify(ServerError(text), A) == event


@pytest.mark.parametrize("safety", [SAME, COUNT, NEVER])
@pytest.mark.parametrize(
    ("events", "maybe"),
    [
        ([UNREADY], False),
        ([UNREADY, MOVED_AB], False),
        ([Event(Trouble.BROKEN_OFF, A)], False),
        ([Event(Trouble.UNREACHABLE, A)], False),
        ([LOST], True),
        ([Event(Trouble.EXPIRED_UNANSWERED, A)], True),
        ([Event(Trouble.EXPIRED, A), LOST], True),
        ([UNREADY, LOST, MOVED_AB], True),
    ],
)
def test_what_was_sent_and_never_answered_may_be_applied(events, maybe, safety):
    history = [Attempt(event, 0.0) for event in events[1:]]
    assert may_be_applied(events[0], Call(safety, USUAL), history) is maybe
    assert not may_be_applied(events[0], Call(READ, USUAL), history)


def test_an_attempt_says_where_what_and_how_long():
    assert str(Attempt(MOVED_AB, 0.0125)) == "a:7000: moved to b:7000 after 0.013 s"
    assert str(Attempt(Event(Trouble.UNCOVERED), 1)) == "no node: uncovered after 1.000 s"


# ------------------------------------------------------------------------ any sequence of events

NODES = st.sampled_from([A, B, C])
EVENTS = st.builds(Event, st.sampled_from(Trouble), NODES, st.none() | NODES, st.just(42)).map(
    lambda event: event._replace(to=event.to if "MOVED ASK".find(event.trouble.name) >= 0 else None)
)
DEADLINE = 10.0
PROBE = 0.05
"""What a suspicion takes at least: one round of probes."""


def at_most(deadline):
    """How many attempts fit in, even if each of them fails at once and jitter is at its least."""
    free, doublings = 5, 6
    return free + doublings + deadline / min(LONGEST / 2, PROBE)


@given(
    st.lists(EVENTS, min_size=1, max_size=12),
    st.sampled_from(Safety),
    st.sampled_from([USUAL, frozenset(), frozenset(Safety)]),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3)), min_size=1, max_size=5),
)
def test_any_sequence_ends_by_the_deadline_and_never_spins(
    events, safety, resend, splittable, chances
):
    assume(all(e.to for e in events if e.trouble in {Trouble.MOVED, Trouble.ASK}))
    call, now, history, event = Call(safety, resend, splittable), 0.0, [], None
    for turn in range(int(at_most(DEADLINE)) + 1):
        jitter, took = chances[turn % len(chances)]
        if event is None:
            event = events[turn % len(events)]
            now = min(now + took, DEADLINE)
        decision = decide(event, call, history, backoff=BACKOFF, jitter=jitter)
        if decision.verb is not Verb.SEND:
            break
        assert 0.0 <= decision.pause <= LONGEST
        assert not decision.asking or decision.to
        # Sent again only what the server cannot have executed, or what may be sent twice.
        assert event.trouble is not Trouble.NO_REPLY or safety in resend
        history.append(Attempt(event, 0.0))
        now += max(decision.pause, PROBE if decision.suspect else 0.0)
        event = Event(Trouble.EXPIRED, A) if now >= DEADLINE else None
    else:
        pytest.fail(f"still trying after {len(history)} attempts and {now} s")
    if decision.verb is Verb.RAISE_UNKNOWN:
        assert may_be_applied(event, call, history) or safety is READ
    if decision.verb is Verb.SPLIT:
        assert splittable
