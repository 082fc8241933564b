"""What the races need, without a framework: gunicorn race_plain:app."""

from __future__ import annotations

import json
import os
import time
from http import HTTPStatus
from typing import ClassVar

from clustercache import SessionStore
from clustercache.cli.demo.shop import Page, Shop
from clustercache.exceptions import SessionGoneError


def put(session, form):
    if session.user is None:
        return Page(HTTPStatus.UNAUTHORIZED)
    time.sleep(float(form["wait"]))
    session[form["name"]] = form["value"]
    return Page(HTTPStatus.OK)


def read(session, _form):
    if session.user is None:
        return Page(HTTPStatus.UNAUTHORIZED)
    return Page(HTTPStatus.OK, dict(session))


class Racer(Shop):
    views: ClassVar = {**Shop.views, "POST /put": put, "GET /read": read}

    def _answer(self, environ, headers):
        try:
            return super()._answer(environ, headers)
        except SessionGoneError:
            return Page(HTTPStatus.CONFLICT)


app = Racer(
    SessionStore.from_url(os.environ["CLUSTERCACHE_URL"], **json.loads(os.environ["SETTINGS"])), ""
)
