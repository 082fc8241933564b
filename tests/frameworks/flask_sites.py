"""Flask applications for tests, and a store that counts what it is asked, and can be away."""

from __future__ import annotations

from functools import partial

import flask

from clustercache.exceptions import SessionUnavailableError
from clustercache.flask import ClusterCache
from clustercache.sessions.memory import Memory
from clustercache.sessions.store import SessionStore


class Wire(Memory):
    """In process; counts what is sent, and sends nothing while it is `down`."""

    def __init__(self):
        super().__init__()
        self.sent = []
        self.down = ()

    def ask(self, calls):
        self.sent += [call.op for call in calls]
        if any(call.op in self.down for call in calls):
            return [SessionUnavailableError("nobody answers")] * len(calls)
        return super().ask(calls)


ALL = ("load", "save", "create", "unlink", "reserve", "settle", "drop")


def site(**config):
    """Return an application whose store is a `Wire`, with a page for each thing to be done."""
    options = config.pop("options", {})
    app = flask.Flask("site")
    app.config.update(config)
    store = SessionStore(Wire(), **options)
    ClusterCache(app, store=store)
    app.wire, app.store = store._sent, store
    session = flask.session
    app.add_url_rule("/page", "page", lambda: "page")

    def does(path, action):
        app.add_url_rule(f"/{path}", path, lambda: flask.jsonify(action()))

    app.does = does
    does("read", lambda: dict(session))
    does("user", lambda: session.user)
    does("set", lambda: session.update(flask.request.args.to_dict()))
    for name in ("clear", "rotate", "touch"):
        does(name, partial(lambda name: getattr(session, name)(), name))
    return app


def cookie(answer):
    """Return the Set-Cookie header's value, or None; there is one at the most."""
    found = answer.headers.getlist("Set-Cookie")
    assert len(found) <= 1
    return found[0] if found else None


def token(client, name="session"):
    held = client.get_cookie(name)
    return held.value if held else None
