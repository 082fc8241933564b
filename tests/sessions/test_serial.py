"""Several actors on one session, in any order: some serial order explains what is left."""

from __future__ import annotations

from itertools import permutations
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clustercache import SessionStore
from clustercache.exceptions import SessionGoneError
from clustercache.sessions.memory import Memory
from tests.sessions.actors import Actor

pytestmark = pytest.mark.live

acts = st.sampled_from(["set a", "set b", "del a", "incr n", "append l", "rotate", "touch", "end"])
actors = st.lists(st.lists(acts, min_size=1, max_size=3, unique=True), min_size=2, max_size=3)
START = {"a": 0, "n": 0, "l": []}


@pytest.fixture(params=["memory", "cluster"])
def store(request):
    if request.param == "memory":
        yield SessionStore(Memory())
        return
    url = request.getfixturevalue("cluster").url
    with SessionStore.from_url(url, prefix=uuid4().hex, ack_replicas=0) as made:
        yield made


def do(session, what, who):
    """Do one thing to a session here; nothing is sent."""
    if what.startswith("set"):
        session[what[-1]] = who + 1
    elif what == "del a":
        session.pop("a", None)
    elif what == "incr n":
        session.incr("n", 10**who)
    elif what == "append l":
        session.append("l", who)
    elif what == "end":
        session.flush()
    else:
        getattr(session, what)()


def model(state, whats, who):
    """Return what a serial run leaves, None for a session that is over."""
    state = {name: list(v) if isinstance(v, list) else v for name, v in state.items()}
    for what in whats:
        if what.startswith("set"):
            state[what[-1]] = who + 1
        elif what == "del a":
            state.pop("a", None)
        elif what == "incr n":
            state["n"] += 10**who
        elif what == "append l":
            state["l"] = [*state["l"], who]
        elif what == "end":
            return None
    return state


def explained(whats, outcomes, left):
    """Tell whether some order of the actors leaves what is left, and tells each what it was told.

    All loaded the session at its beginning: whoever comes after a rotation, or the end, is late.
    """
    for order in permutations(range(len(whats))):
        state, rotated, told = dict(START), False, {}
        for who in order:
            told[who] = "gone"
            ending = "end" in whats[who]
            if ending:
                told[who] = "ok"  # who ends a session is never late
                state = None
            elif state is not None and not rotated:
                told[who] = "ok"
                state = model(state, whats[who], who)
                rotated = "rotate" in whats[who]
        if state == left and [told[who] for who in range(len(whats))] == outcomes:
            return True
    return False


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whats=actors, turns=st.lists(st.integers(0, 5), max_size=12))
def test_some_serial_order_explains_what_is_left(store, whats, turns):
    made = store.create(START)
    loaded = [store.load(made.token) for _ in whats]
    for who, session in enumerate(loaded):
        for what in whats[who]:
            do(session, what, who)
            if what == "end":
                break
    under_way = [Actor(store.plans.save(session)) for session in loaded]
    turns = iter(turns)
    while alive := [actor for actor in under_way if not actor.over]:
        alive[next(turns, 0) % len(alive)].step(store._sent)
    outcomes = ["ok" if actor.error is None else "gone" for actor in under_way]
    assert {type(actor.error) for actor in under_way} <= {type(None), SessionGoneError}
    given_ = [actor.result.set_token for actor in under_way if actor.result]
    [token] = [one for one in given_ if one] or [made.token]
    there = store.load(token)
    left = None if there is None else dict(there)
    assert explained(whats, outcomes, left), (whats, outcomes, left)
