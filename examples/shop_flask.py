"""A little shop in Flask: gunicorn shop_flask:app."""

import os
import time

from flask import Flask, abort, jsonify, redirect, request, session
from werkzeug.wrappers import Response

import pages
from clustercache.flask import ClusterCache, login_session

app = Flask(__name__)
app.config["CLUSTERCACHE_URL"] = os.environ["CLUSTERCACHE_URL"]
app.config["SESSION_COOKIE_NAME"] = "shop"  # the same in all three shops: a login is good in each
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
app.config["CLUSTERCACHE_CACHE"] = {"namespace": "shop", "near": 10_000}
extension = ClusterCache(app)


def user() -> str:
    """Return who is logged in; 401 for a stranger."""
    return session.user or abort(401)


@app.get("/")
def home() -> str:
    """Welcome everybody. The session is not looked at: this page needs no Redis."""
    return pages.home("Flask")


@app.post("/login")
def login() -> Response:
    """Let anybody in. A real shop asks for a password first."""
    login_session(request.form["user"])  # a new token for the cookie, the old one is dead
    session["cart"] = []
    return redirect("/cart", 303)


@app.get("/cart")
def cart() -> str:
    """Show the cart."""
    return pages.cart(user(), session["cart"], "Flask")


@app.post("/cart")
def add() -> Response:
    """Put something into the cart."""
    user()
    session.append("cart", request.form["item"])  # no lost update, however many clicks at once
    return redirect("/cart", 303)


@app.get("/me")
def me() -> Response:
    """Tell a script who is logged in."""
    return jsonify(user=user(), cart=session["cart"])


@extension.cache.cached(ttl=60, stale=600)
def advice(item: str) -> list[str]:
    """Ask somebody slow what goes with something: one worker does, for all of them."""
    time.sleep(0.3)
    return [f"another {item}", f"a book about {item}"]


@app.get("/with/<item>")
def goes_with(item: str) -> Response:
    """Tell a script what goes with something; of two that ask at once, one waits for the other."""
    return jsonify(item=item, advice=advice(item), near=advice.cache_stats().near_hits)


@app.post("/logout")
def logout() -> Response:
    """End the session, on every server at once."""
    session.clear()
    return redirect("/", 303)
