"""Threads on a real cluster: nothing is lost, nothing comes back, nobody is thrown out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest

from clustercache import SessionStore
from clustercache.exceptions import SessionGoneError, SessionLimitError, SessionRevokedError

pytestmark = pytest.mark.live

ROUNDS = 1000
LATE = (SessionGoneError, SessionLimitError, SessionRevokedError)


@pytest.fixture
def store(cluster):
    with SessionStore.from_url(cluster.url, prefix=uuid4().hex, ack_replicas=0) as made:
        yield made


def rounds(pool, barrier, count, *acts):
    """Do things at once, round by round, in a pool's threads; return each round's outcomes."""

    def run(act):
        outcomes = []
        for number in range(count):
            barrier.wait(30)
            try:
                outcomes.append(act(number))
            except LATE as error:
                outcomes.append(error)
        return outcomes

    return list(zip(*pool.map(run, acts), strict=True))


def race(count, *acts):
    """Run `acts` against each other `count` times; each is called with the round's number."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return rounds(pool, Barrier(len(acts)), count, *acts)


def test_changes_of_different_fields_are_never_lost(store):
    made = store.create({})

    def writer(name):
        def write(number):
            session = store.load(made.token)
            assert session.get(name, -1) == number - 1
            session[name] = number
            store.save(session)

        return write

    race(ROUNDS // 4, *map(writer, "abcd"))
    assert dict(store.load(made.token)) == dict.fromkeys("abcd", ROUNDS // 4 - 1)


def test_increments_and_appends_are_never_lost(store):
    made = store.create({})

    def adder(who):
        def add(number):
            session = store.load(made.token)
            session.incr("n")
            session.append("log", [who, number])
            store.save(session)

        return add

    race(ROUNDS // 4, *map(adder, range(4)))
    final = store.load(made.token)
    assert final["n"] == ROUNDS
    assert sorted(final["log"]) == [[w, n] for w in range(4) for n in range(ROUNDS // 4)]


def test_a_logout_wins_over_any_slow_writer(store):
    made = [store.create({"a": 0}) for _ in range(ROUNDS)]
    slow = [store.load(one.token) for one in made]
    tokens = [one.token for one in made]

    def write(number):
        slow[number]["a"] = 1
        slow[number].incr("n")
        return store.save(slow[number])

    outcomes = race(ROUNDS, write, lambda number: store.delete(made[number]))
    assert all(logout.ended for _, logout in outcomes)
    assert all(store.load(token) is None for token in tokens)
    assert {isinstance(written, SessionGoneError) for written, _ in outcomes} == {True, False}
    assert store.count() == 0


def test_of_concurrent_renewals_one_gives_a_cookie_and_all_tokens_open(store):
    count = ROUNDS // 4
    made = [store.create({"a": 0}) for _ in range(count)]
    for one in made:
        store.client.hincrby(store.plans.key(one.selector), "_r", -1_000_000)

    def renew(number):
        return store.save(store.load(made[number].token)).set_token

    for number, given in enumerate(race(count, renew, renew, renew, renew)):
        [successor] = [token for token in given if token is not None]
        assert store.load(made[number].token) is not None
        seen = store.load(successor)
        store.save(seen)  # confirms it
        assert store.load(made[number].token) is not None  # within the grace


def test_no_login_survives_the_end_of_all_unlisted(store):
    def login(number):
        return store.create({}, user=f"u{number}")

    outcomes = race(ROUNDS, login, lambda number: store.revoke_all(f"u{number}"))
    for number, (session, ended) in enumerate(outcomes):
        listed = {one.public_id for one in store.sessions_of(f"u{number}")}
        if isinstance(session, SessionRevokedError):
            assert listed == set()
        else:
            alive = store.load(session.token) is not None
            assert listed == ({session.public_id} if alive else set())
            assert alive == (ended == 0)
    listed = sum(store.count(f"u{number}") for number in range(ROUNDS))
    assert store.count() == listed


@pytest.mark.parametrize("when_full", ["evict", "refuse"])
def test_a_limit_is_never_exceeded_once_all_is_quiet(store, cluster, when_full):
    options = {"prefix": store.settings.prefix, "ack_replicas": 0}
    with SessionStore.from_url(cluster.url, limit=2, when_full=when_full, **options) as limited:

        def login(number):
            return limited.create({}, user=f"u{number}")

        outcomes = race(ROUNDS // 4, login, login, login, login)
        users = [f"u{number}" for number in range(ROUNDS // 4)]
        assert [limited.count(user) for user in users] == [2] * len(users)
        assert limited.count() == 2 * len(users)
    refused = [sum(isinstance(one, SessionLimitError) for one in some) for some in outcomes]
    assert refused == [2 if when_full == "refuse" else 0] * len(users)


def test_the_dead_do_not_count_and_a_login_under_way_does_for_a_minute(cluster):
    with SessionStore.from_url(cluster.url, prefix=uuid4().hex, limit=1) as store:
        dead = store.create({}, user="u")
        store.client.unlink(store.plans.key(dead.selector))
        living = store.create({}, user="u")
        assert store.load(living.token) is not None
        store.delete(living)
        # A login that stopped half way: its place is kept, for it may go on.
        store.client.zadd(store.plans.index.key("u"), {"x" * 16: 3e13, "+" + "x" * 16: 3e13})
        with pytest.raises(SessionLimitError):
            store.create({}, user="u")
        store.client.zadd(store.plans.index.key("u"), {"+" + "x" * 16: 1})
        assert store.create({}, user="u").user == "u"


def test_logins_of_one_session_at_once_leave_one_token(store):
    made = [store.create({}) for _ in range(ROUNDS // 4)]

    def login(number):
        session = store.load(made[number].token)
        return None if session is None else store.login(session, f"u{number}").set_token

    for number, given in enumerate(race(len(made), login, login)):
        tokens = [token for token in given if isinstance(token, str)]
        assert len([token for token in tokens if store.load(token) is not None]) == 1
        assert store.count(f"u{number}") == 1
