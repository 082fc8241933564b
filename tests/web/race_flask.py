"""What the races need, in Flask."""

from __future__ import annotations

import json
import os
import time

from flask import Flask, abort, request, session

from clustercache.flask import ClusterCache, login_session

app = Flask(__name__)
app.config["CLUSTERCACHE_URL"] = os.environ["CLUSTERCACHE_URL"]
ClusterCache(app, **json.loads(os.environ["SETTINGS"]))


@app.get("/")
def home():
    return "welcome"


@app.post("/login")
def login():
    login_session(request.form["user"])
    return "welcome"


@app.post("/put")
def put():
    if session.user is None:
        abort(401)
    time.sleep(float(request.form["wait"]))
    session[request.form["name"]] = request.form["value"]
    return "done"


@app.get("/read")
def read():
    return dict(session) if session.user is not None else abort(401)


@app.post("/logout")
def logout():
    session.clear()
    return "goodbye"
