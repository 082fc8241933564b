"""Flask's sites: the same shop, with sessions kept by different hands."""

from __future__ import annotations

from functools import partial

from tests.bench import shop
from tests.bench.visits import Site


def signed_cookie(_):
    return _site(lambda app: None)


def clustercache(address):
    from clustercache.flask import ClusterCache

    def prepare(app):
        app.config["CLUSTERCACHE_URL"] = f"redis://{address[0]}:{address[1]}"
        ClusterCache(app)

    return _site(prepare)


def flask_session(address, **settings):
    from flask_session import Session
    from redis import Redis

    def prepare(app):
        client = Redis(host=address[0], port=address[1])
        app.config.update(SESSION_TYPE="redis", SESSION_REDIS=client, **settings)
        Session(app)

    return _site(prepare)


# It writes the whole session at the end of each request unless it is told not to.
flask_session_changes = partial(flask_session, SESSION_REFRESH_EACH_REQUEST=False)


def _site(prepare):
    import flask

    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY="the bench's own secret, " * 2, PROPAGATE_EXCEPTIONS=True)
    prepare(app)
    session = flask.session
    app.add_url_rule("/enter/<int:number>", "enter", lambda number: shop.enter(session, number))
    app.add_url_rule("/page", "page", lambda: shop.PAGE)
    app.add_url_rule("/read", "read", lambda: shop.read(session))
    app.add_url_rule("/write", "write", lambda: shop.write(session))
    return Site([_browser(app.test_client()) for _ in range(shop.BROWSERS)])


def _browser(client):
    return lambda path: client.get(path).data
