"""Plans of several actors, in every order of their round trips: no session survives unlisted."""

from __future__ import annotations

import random

import pytest

from clustercache import SessionStore
from clustercache.exceptions import (
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
)
from clustercache.sessions.memory import Memory
from tests.sessions.actors import Actor

_SAMPLE = 1500
"""Orders that are tried where there are too many."""


class World:
    """A memory, its store, and what the actors do."""

    def __init__(self, **options):
        self.memory = Memory()
        self.store = SessionStore(self.memory, **options)
        self.index, self.save = self.store.plans.index, self.store.plans.save

    def loaded(self, session):
        return self.store.load(session.token)

    def login(self, session, user="u"):
        session.login(user)
        return self.save(session)

    def check(self, *actors, limit=None):
        """Check that whatever lives is listed, and that nobody was told a wrong thing."""
        for actor in actors:
            refusals = (SessionGoneError, SessionRevokedError, SessionLimitError)
            assert actor.error is None or isinstance(actor.error, refusals), actor.error
        living = [one for one in self.store.scan() if one.user is not None]
        for user in ("u", "v"):
            listed = {one.public_id for one in self.store.sessions_of(user)}
            assert {one.public_id for one in living if one.user == user} == listed
            assert limit is None or len(listed) <= limit
        return living


def orders(story, **options):
    """Run a story in every order of its actors' round trips; yield each world at its end."""
    waiting = [[]]
    while waiting:
        wished = waiting.pop()
        world, actors = begin(story, options)
        done = []
        while alive := [n for n, actor in enumerate(actors) if not actor.over]:
            if len(done) < len(wished):
                choice = wished[len(done)]
            else:
                choice, *others = alive
                waiting += [[*done, other] for other in others]
            actors[choice].step(world.memory)
            done.append(choice)
        yield world, actors


def some_orders(story, **options):
    """Run a story in many orders."""
    draw = random.Random(7)
    for _ in range(_SAMPLE):
        world, actors = begin(story, options)
        while alive := [actor for actor in actors if not actor.over]:
            draw.choice(alive).step(world.memory)
        yield world, actors


def begin(story, options):
    world = World(**options)
    return world, [Actor(plan) for plan in story(world)]


def test_a_login_and_the_end_of_all():
    def story(world):
        return world.login(world.store.new()), world.index.revoke_all("u")

    seen = set()
    for world, (login, revoke) in orders(story):
        living = world.check(login, revoke)
        assert len(living) == (login.error is None and revoke.result == 0)
        seen.add((type(login.error), revoke.result))
    # Before it, after it, and caught in the middle.
    assert {(type(None), 0), (type(None), 1), (SessionRevokedError, 0)} <= seen


def test_a_login_of_a_stored_session_and_the_end_of_all():
    def story(world):
        made = world.store.create({"a": 1}, user="u")
        return world.login(world.loaded(made)), world.index.revoke_all("u")

    for world, actors in orders(story):
        world.check(*actors)


def test_a_login_and_the_end_of_that_very_session():
    def story(world):
        new = world.store.new()
        return world.login(new), world.index.revoke("u", new.public_id)

    for world, (login, revoke) in orders(story):
        living = world.check(login, revoke)
        assert len(living) == (not revoke.result)


def test_two_logins_where_one_session_is_allowed_and_the_oldest_ends():
    def story(world):
        return [world.login(world.store.new()) for _ in range(2)]

    for world, actors in orders(story, limit=1, when_full="evict"):
        assert len(world.check(*actors, limit=1)) == 1
        assert any(actor.error is None for actor in actors)


def test_many_logins_where_two_sessions_are_allowed_and_the_oldest_end():
    def story(world):
        world.store.create({}, user="u")
        return [world.login(world.store.new()) for _ in range(4)]

    for world, actors in some_orders(story, limit=2, when_full="evict"):
        assert len(world.check(*actors, limit=2)) == 2


def test_many_logins_where_two_sessions_are_allowed_and_more_are_refused():
    def story(world):
        return [world.login(world.store.new()) for _ in range(4)]

    for world, actors in some_orders(story, limit=2, when_full="refuse"):
        assert len(world.check(*actors, limit=2)) == 2
        assert sum(isinstance(one.error, SessionLimitError) for one in actors) == 2


def test_the_dead_take_no_place_and_those_under_way_do():
    def story(world):
        gone = world.store.create({}, user="u")
        world.memory._unlink(world.store.plans.key(gone.selector))
        return [world.login(world.store.new()) for _ in range(2)]

    for world, actors in orders(story, limit=1, when_full="refuse"):
        assert len(world.check(*actors, limit=1)) == 1


@pytest.mark.parametrize("users", [("u", "u"), ("u", "v")])
def test_two_logins_of_one_session(users):
    def story(world):
        made = world.store.create({"a": 1})
        return [world.login(world.loaded(made), user) for user in users]

    for world, actors in orders(story):
        [living] = world.check(*actors)
        [winner] = [n for n, actor in enumerate(actors) if actor.error is None]
        assert living.user == users[winner]


def test_a_login_and_a_logout_of_one_session():
    def story(world):
        made = world.store.create({"a": 1}, user="u")
        return world.login(world.loaded(made), "v"), world.store.plans.delete(world.loaded(made))

    for world, (login, logout) in orders(story):
        assert world.check(login, logout) == []
        assert logout.error is None


def test_a_slow_writer_and_a_logout():
    def story(world):
        made = world.store.create({"a": 1}, user="u")
        slow = world.loaded(made)
        slow["a"] = 2
        slow.incr("n")
        return world.save(slow), world.store.plans.delete(world.loaded(made))

    for world, (writer, logout) in orders(story):
        assert world.check(writer, logout) == []
        assert logout.result.ended


def test_increments_of_several():
    def story(world):
        made = world.store.create({"n": 0}, user="u")
        several = [world.loaded(made) for _ in range(3)]
        for one in several:
            one.incr("n")
        world.token = made.token
        return [world.save(one) for one in several]

    for world, actors in orders(story):
        world.check(*actors)
        assert world.store.load(world.token)["n"] == 3


def test_a_rotation_and_a_writer():
    def story(world):
        made = world.store.create({"a": 1}, user="u")
        world.rotating, world.writing = world.loaded(made), world.loaded(made)
        world.rotating.rotate()
        world.writing["a"] = 2
        return world.save(world.rotating), world.save(world.writing)

    for world, (rotation, writer) in orders(story):
        world.check(rotation, writer)
        assert rotation.error is None
        there = world.store.load(rotation.result.set_token)
        assert there["a"] == (1 if writer.error else 2)


def test_a_second_login_and_the_end_of_all_but_this():
    def story(world):
        kept = world.store.create({}, user="u")
        return world.login(world.store.new()), world.index.revoke_all("u", kept.selector)

    for world, actors in orders(story):
        assert world.check(*actors)


def test_a_login_while_the_list_is_read():
    def story(world):
        return world.login(world.store.new()), world.index.sessions_of("u")

    for world, actors in orders(story):
        assert len(world.check(*actors)) == 1
