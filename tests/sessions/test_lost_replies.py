"""A reply is lost: what was saved is saved once, or the caller is told that nobody knows."""

from __future__ import annotations

from contextlib import ExitStack
from time import monotonic
from uuid import uuid4

import pytest

from clustercache import SessionStore
from clustercache.exceptions import OutcomeUnknownError, SessionUnavailableError
from clustercache.localcluster import LocalCluster
from clustercache.sessions.scripts import SCRIPTS
from tests.sessions.lossy import Lossy, first
from tests.sessions.stores import expire

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def node():
    with LocalCluster.standalone() as lc:
        yield lc.nodes[0]


@pytest.fixture
def lossy(node):
    with Lossy(node) as server:
        yield server


@pytest.fixture
def stores(node, lossy, store_class):
    """A store whose replies get lost, and one at the same server whose replies do not."""
    prefix = uuid4().hex
    with ExitStack() as stack:
        bad = store_class.from_url(lossy.url, prefix=prefix, deadline=5.0, protocol=2)
        good = SessionStore.from_url(f"redis://{node.address}", prefix=prefix)
        yield stack.enter_context(bad), stack.enter_context(good)


@pytest.fixture
def bad(stores):
    return stores[0]


@pytest.fixture
def good(stores):
    """A store that loses nothing; the server knows all scripts, so that no NOSCRIPT is lost."""
    for script in SCRIPTS.values():
        stores[1].client.script_load(script.source)
    return stores[1]


def nonces(good, session):
    joined = good.client.hget(f"{good.settings.prefix}:s:{session.selector}", "_n") or b""
    return [joined[at : at + 8] for at in range(0, len(joined), 8)]


def scripts(lossy):
    return [one for one in lossy.commands if one.name == "EVALSHA"]


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_save_is_sent_again_and_counts_once(lossy, bad, good, carried_out):
    made = bad.load(good.create({"n": 1, "log": ["a"]}).token)
    made.incr("n")
    made.append("log", "b")
    made["plain"] = "x"
    setattr(lossy, "lose" if carried_out else "refuse", first(1, "EVALSHA"))
    bad.save(made)
    assert dict(good.load(made.token)) == {"n": 2, "log": ["a", "b"], "plain": "x"}
    assert len(nonces(good, made)) == 1
    once, again = scripts(lossy)
    # It is told that it was sent before, and is the same otherwise.
    assert [a for a, b in zip(once, again, strict=True) if a != b] == [b""]
    made.incr("n")
    bad.save(made)
    assert good.load(made.token)["n"] == 3


def test_a_save_that_was_changed_by_others_meanwhile_still_counts_once(lossy, bad, good):
    made = bad.load(good.create({"n": 1}).token)
    made.incr("n")

    def lose_and_add(command):
        if command.name != "EVALSHA" or lossy.lose is never:
            return False
        lossy.lose = never
        other = good.load(made.token)
        other.incr("n", 10)
        good.save(other)
        return True

    lossy.lose = lose_and_add
    bad.save(made)
    assert good.load(made.token)["n"] == 12


def never(_):
    return False


@pytest.mark.parametrize("others", [15, 16])
def test_after_sixteen_saves_of_others_nobody_knows(lossy, bad, good, others):
    session = good.create({"n": 1})
    good.rotate(session)  # the server knows the script from here on
    made = bad.load(session.token)
    made["n"] = 2

    def lose_and_save(command):
        if command.name != "EVALSHA" or lossy.lose is never:
            return False
        lossy.lose = never
        for number in range(others):
            other = good.load(made.token)
            other["other"] = number
            good.save(other)
        return True

    lossy.lose = lose_and_save
    if others < 16:
        bad.save(made)
    else:
        with pytest.raises(OutcomeUnknownError, match="load it again") as caught:
            bad.save(made)
        assert caught.value.applied == "maybe"
    assert dict(good.load(made.token)) == {"n": 2, "other": others - 1}


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_rotation_whose_reply_was_lost_gives_a_token_that_opens(lossy, bad, good, carried_out):
    made = bad.load(good.create({"n": 1}).token)
    old = made.token
    setattr(lossy, "lose" if carried_out else "refuse", first(1, "EVALSHA"))
    token = bad.rotate(made).set_token
    assert good.load(token)["n"] == 1
    assert good.load(old) is None


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_renewal_whose_reply_was_lost_gives_a_token_that_opens(lossy, bad, good, carried_out):
    made = good.create({"n": 1})
    expire(good, made, 1000)
    here = bad.load(made.token)
    setattr(lossy, "lose" if carried_out else "refuse", first(1, "EVALSHA"))
    token = bad.save(here).set_token
    assert token not in {None, made.token}
    assert good.load(token)["n"] == 1
    assert good.load(made.token)["n"] == 1


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_login_survives_the_loss_of_any_reply(lossy, bad, good, *, which, carried_out, is_new):
    made = bad.new() if is_new else bad.load(good.create({"a": 1}).token)
    seen = []

    def strike(command):
        if command.name == "EVALSHA":
            seen.append(command)
            return len(seen) == which + 1
        return False

    setattr(lossy, "lose" if carried_out else "refuse", strike)
    token = bad.login(made, "u").set_token
    assert len(seen) == 4
    [info] = good.sessions_of("u")
    assert info.public_id == made.public_id
    assert good.load(token).user == "u"
    index = f"{good.settings.prefix}:u:u"
    assert good.client.zcard(index) == 1  # nothing is under way


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_logout_survives_the_loss_of_its_reply(lossy, bad, good, carried_out):
    made = bad.load(good.create({"n": 1}, user="u").token)
    token = made.token
    setattr(lossy, "lose" if carried_out else "refuse", first(1, "UNLINK"))
    assert bad.delete(made).ended
    assert good.load(token) is None
    assert good.sessions_of("u") == []


def test_a_creation_is_sent_again_and_creates_once(lossy, bad, good):
    lossy.lose = first(1, "EVALSHA")
    made = bad.create({"n": 1})
    assert good.load(made.token)["n"] == 1
    assert good.count() == 1


def test_a_server_that_always_hangs_up_ends_a_save_in_time_and_is_not_stormed(lossy, bad, good):
    made = bad.load(good.create({"n": 1}).token)
    made["n"] = 2
    lossy.lose = lambda command: command.name == "EVALSHA"
    before = monotonic()
    with bad.client.deadline(1.0), pytest.raises((OutcomeUnknownError, SessionUnavailableError)):
        bad.save(made)
    assert monotonic() - before < 2.0
    assert len(scripts(lossy)) < 20
    assert good.load(made.token)["n"] == 2


def test_a_server_that_forgot_its_scripts_is_given_them(lossy, bad, good, node):
    made = bad.create({"n": 1})
    node.call("SCRIPT", "FLUSH")
    made["n"] = 2
    bad.save(made)
    node.call("SCRIPT", "FLUSH")
    bad.login(made, "u")
    node.call("SCRIPT", "FLUSH")
    assert bad.revoke_all("u") == 1
    assert [one.name for one in lossy.commands if one.name == "EVAL"]
