"""A session that cannot be had, or not be saved: what Flask's users see of it."""

from __future__ import annotations

import flask
import pytest
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException

from clustercache.exceptions import (
    SessionError,
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
    SessionUnavailableError,
)
from clustercache.flask import ClusterCache, login_session
from tests.frameworks.flask_sites import ALL, cookie, site, token


def visited(app, path="/set?a=1"):
    client = app.test_client()
    client.get(path)
    app.wire.sent.clear()
    return client


def test_a_page_that_never_looks_does_not_notice_that_all_are_away():
    app = site()
    client = visited(app)
    app.wire.down = ALL
    assert client.get("/page").status_code == 200
    assert app.wire.sent == []


def test_who_looks_gets_503_and_keeps_the_cookie():
    app = site()
    client = visited(app)
    held, app.wire.down = token(client), ALL
    for path in ("/read", "/set?a=2", "/clear", "/rotate"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert cookie(answer) is None
    app.wire.down = ()
    assert client.get("/read").json == {"a": "1"}
    assert token(client) == held


def test_a_request_asks_once_however_often_it_looks():
    app = site()

    def twice():
        with pytest.raises(SessionUnavailableError):
            flask.session.get("a")
        with pytest.raises(SessionUnavailableError):
            flask.session["a"] = 1
        return "gave up"

    app.does("twice", twice)
    client = visited(app)
    app.wire.down = ALL
    assert client.get("/twice").json == "gave up"
    assert app.wire.sent == ["load"]


@pytest.mark.parametrize(
    "handled", [SessionUnavailableError, SessionError, RedisError, HTTPException, Exception, 503]
)
@pytest.mark.parametrize(("path", "down"), [("/read", ALL), ("/set?a=2", ("save",))])
def test_the_applications_own_handler_answers(handled, path, down):
    app = site()
    app.register_error_handler(handled, lambda error: (f"ours: {error.code}", 418))
    client = visited(app)
    held, app.wire.down = token(client), down
    answer = client.get(path)
    assert (answer.status_code, answer.text) == (418, "ours: 503")
    assert cookie(answer) is None
    assert token(client) == held


def test_a_handler_that_fails_is_logged_and_not_let_out(caplog):
    app = site(PROPAGATE_EXCEPTIONS=True)
    app.register_error_handler(SessionUnavailableError, lambda error: 1 / 0)
    client = visited(app)
    app.wire.down = ("save",)
    assert client.get("/set?a=2").status_code == 500
    assert "ZeroDivisionError" in caplog.text


def test_a_handler_of_500_that_fails_too_is_not_let_out(caplog):
    app = site()
    app.register_error_handler(SessionUnavailableError, lambda error: 1 / 0)
    app.register_error_handler(500, lambda error: {}["nothing"])
    client = visited(app)
    app.wire.down = ("save",)
    assert client.get("/set?a=2").status_code == 500
    assert "KeyError" in caplog.text


def test_a_save_that_fails_replaces_the_answer_in_place():
    app = site()

    @app.get("/buy")
    def buy():
        flask.session["bought"] = True
        answer = flask.redirect("/thanks")
        answer.set_cookie("remember", "me")
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        answer.set_etag("x")
        return answer

    client = visited(app)
    app.wire.down = ("save", "create")
    for answer in (client.get("/buy"), app.test_client().get("/buy")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert cookie(answer) is None
        assert "Location" not in answer.headers
        assert "ETag" not in answer.headers
        assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Vary"] == "Cookie"
        assert "thanks" not in answer.text
        assert int(answer.headers["Content-Length"]) == len(answer.data)


def test_a_stream_that_is_not_sent_is_closed():
    app = site()
    closed = []

    class Stream:
        def __iter__(self):
            return iter([b"never sent"])

        def close(self):
            closed.append(True)

    app.add_url_rule("/s", "s", lambda: flask.session.update(a=2) or flask.Response(Stream()))
    client = visited(app)
    app.wire.down = ("save",)
    answer = client.get("/s")
    assert answer.status_code == 503
    answer.close()
    assert closed == [True]


def test_who_only_reads_goes_on_while_nothing_can_be_written():
    app = site(options={"touch_after": 1.0})
    client = visited(app)
    app.wire.down = ("save",)
    answer = client.get("/touch")
    assert (answer.status_code, cookie(answer), app.wire.sent) == (200, None, ["load", "save"])


def test_a_logout_that_cannot_be_done_does_not_look_done():
    app = site()
    client = visited(app)
    held, app.wire.down = token(client), ("unlink",)
    answer = client.get("/clear")
    assert (answer.status_code, cookie(answer)) == (503, None)
    assert token(client) == held
    app.wire.down = ()
    assert client.get("/read").json == {"a": "1"}


def test_anonymous_goes_on_and_refuses_what_would_be_lost():
    app = site(options={"on_unavailable": "anonymous"})
    app.does("in", lambda: login_session("u"))
    app.does("pop", lambda: flask.session.pop("a", None))
    app.does("delete", lambda: flask.session.__delitem__("a"))
    client = visited(app)
    held, app.wire.down = token(client), ALL
    assert client.get("/read").json == {}
    assert client.get("/user").json is None
    for path in ("/set?a=2", "/clear", "/rotate", "/in", "/delete"):
        answer = client.get(path)
        assert (answer.status_code, cookie(answer)) == (503, None)
    app.wire.down = ()
    assert client.get("/read").json == {"a": "1"}
    assert token(client) == held


def test_a_session_that_ended_meanwhile_is_409_and_not_resurrected():
    app = site()

    def slow():
        flask.session["a"] = 2
        app.store.delete(app.store.load(flask.request.cookies["session"]))

    app.does("slow", slow)
    client = visited(app)
    answer = client.get("/slow")
    assert (answer.status_code, cookie(answer)) == (409, None)
    assert app.store.count() == 0
    app.error_handler_spec[None][None][SessionGoneError] = lambda error: ("log in again", 401)
    client = visited(app)
    assert client.get("/slow").text == "log in again"


@pytest.mark.parametrize("error", [SessionRevokedError, SessionLimitError])
def test_a_login_that_is_refused_is_409(error, monkeypatch):
    app = site(options={"limit": 1})
    app.does("in", lambda: login_session("u"))
    client = visited(app, "/in")
    if error is SessionRevokedError:
        monkeypatch.setattr(app.wire, "_settle", lambda *_: 0)
        app.store.revoke_everybody()
    answer = app.test_client().get("/in")
    assert (answer.status_code, cookie(answer)) == (409, None)
    assert app.store.count() == (1 if error is SessionLimitError else 0)
    assert token(client)


def test_what_cannot_be_stored_is_an_error_of_the_application(caplog):
    app = site(PROPAGATE_EXCEPTIONS=True)
    app.does("object", lambda: flask.session.update(a=object()))
    app.does("large", lambda: flask.session.update(a="x" * 100_000))
    client = visited(app)
    for path in ("/object", "/large"):
        answer = client.get(path)
        assert (answer.status_code, cookie(answer)) == (500, None)
    assert "cannot write a builtins.object" in caplog.text
    assert "max_bytes" in caplog.text
    assert client.get("/read").json == {"a": "1"}


def test_a_refusal_of_another_kind_is_503_and_logged(monkeypatch, caplog):
    app = site()
    client = visited(app)

    def out_of_memory(session):
        raise RedisError("OOM command not allowed")

    monkeypatch.setattr(app.store, "save", out_of_memory)
    answer = client.get("/set?a=2")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "OOM" in caplog.text


def test_a_server_that_is_not_there_is_503_where_the_session_is_looked_at():
    app = flask.Flask("away")
    extension = ClusterCache(app, url="redis://127.0.0.1:1", deadline=0.3)
    app.add_url_rule("/read", "read", lambda: flask.session.get("a", "none"))
    client = app.test_client()
    assert client.get("/read").text == "none"
    client.set_cookie("session", f"{'x' * 16}.{'y' * 22}")
    answer = client.get("/read")
    assert (answer.status_code, cookie(answer)) == (503, None)
    with app.app_context():
        extension.store.close()
