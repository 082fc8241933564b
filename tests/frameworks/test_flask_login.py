"""Flask-Login on our sessions: what it says of a user is a login, or a logout, of ours too."""

from __future__ import annotations

import flask
import pytest
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from tests.frameworks.flask_sites import cookie, site, token


class User(UserMixin):
    def __init__(self, name):
        self.id = name


@pytest.fixture
def app():
    made = site(SECRET_KEY="for the remember cookie alone")
    manager = LoginManager(made)
    manager.user_loader(User)
    made.does("in", lambda: login_user(User(flask.request.args["u"]), "r" in flask.request.args))
    made.does("out", logout_user)
    made.does("me", lambda: getattr(current_user, "id", None))
    return made


def test_a_login_rotates_the_token_and_enters_the_index(app):
    client = app.test_client()
    client.get("/set?cart=apple")
    old = token(client)
    client.get("/in?u=ann", headers={"User-Agent": "Lynx"})
    assert token(client) != old
    assert app.store.load(old) is None
    assert client.get("/user", headers={"User-Agent": "Lynx"}).json == "ann"
    assert [one.device for one in app.store.sessions_of("ann")] == ["Lynx"]
    assert client.get("/read").json["cart"] == "apple"


def test_the_same_user_again_proves_anew_who_they_are(app):
    client = app.test_client()
    client.get("/in?u=ann")
    old = token(client)
    client.get("/in?u=ann")
    assert token(client) != old
    assert app.store.load(old) is None


def test_another_user_takes_the_session_over(app):
    client = app.test_client()
    client.get("/in?u=ann")
    client.get("/in?u=bob")
    assert client.get("/me").json == "bob"
    assert [len(app.store.sessions_of(user)) for user in ("ann", "bob")] == [0, 1]


def test_a_logout_ends_the_session_and_keeps_the_cart_in_a_new_one(app):
    client = app.test_client()
    client.get("/set?cart=apple")
    client.get("/in?u=ann")
    old = token(client)
    client.get("/out")
    assert app.store.load(old) is None
    assert app.store.sessions_of("ann") == []
    assert token(client).partition(".")[0] != old.partition(".")[0]
    assert client.get("/read").json == {"cart": "apple"}
    assert client.get("/me").json is None


def test_a_logout_of_a_session_with_nothing_else_deletes_the_cookie(app):
    client = app.test_client()
    client.get("/in?u=ann")
    assert cookie(client.get("/out")).startswith("session=;")
    assert app.store.count() == 0


def test_a_remembered_user_gets_a_session_of_their_own(app):
    client = app.test_client()
    client.get("/in?u=ann&r")
    app.store.revoke_everybody()
    assert client.get("/me").json == "ann"
    assert len(app.store.sessions_of("ann")) == 1


def test_a_login_that_cannot_be_stored_leaves_no_remember_cookie(app):
    client = app.test_client()
    app.wire.down = ("reserve",)
    answer = client.get("/in?u=ann&r")
    assert (answer.status_code, cookie(answer)) == (503, None)
    assert app.store.count() == 0


def test_a_session_ended_from_elsewhere_is_a_logout(app):
    client = app.test_client()
    client.get("/in?u=ann")
    assert client.get("/me").json == "ann"
    assert app.store.revoke_all("ann") == 1
    assert client.get("/me").json is None
