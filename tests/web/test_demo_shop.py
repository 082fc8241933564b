"""The shop of the demo, which has no framework: its pages and its cookies."""

from __future__ import annotations

import asyncio
import json

import pytest

from clustercache import SessionStore
from clustercache.cli.demo.browser import Browser
from clustercache.cli.demo.shop import Shop
from clustercache.exceptions import SessionUnavailableError
from tests.web.stub import serving

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def store():
    with SessionStore.from_url("memory://") as made:
        yield made


@pytest.fixture
def ask(store):
    """Asks the shop, with one browser."""
    with serving(Shop(store, "7")) as address:
        browser = Browser([address])

        def one(path, form=None):
            return asyncio.run(browser.get(path) if form is None else browser.post(path, form))

        one.browser = browser
        yield one


def test_a_user_logs_in_fills_the_cart_and_logs_out(ask):
    assert ask("/me").status == 401
    assert ask.browser.cookies == {}
    assert ask("/login", {"user": "anna"}).status == 303
    held = dict(ask.browser.cookies)
    assert list(held) == ["shop"]
    for item in ("tea", "milk"):
        assert ask("/cart", {"item": item}).status == 303
    answer = ask("/me")
    assert json.loads(answer.body) == {"user": "anna", "cart": ["tea", "milk"]}
    assert answer.header("x-worker") == "7"
    assert answer.header("set-cookie") == ""
    assert ask("/logout", {}).status == 303
    assert ask.browser.cookies == {}
    ask.browser.cookies = held
    assert [ask("/me").status, ask("/cart", {"item": "tea"}).status] == [401, 401]


def test_a_second_login_gets_a_new_token(ask):
    ask("/login", {"user": "anna"})
    ask("/cart", {"item": "tea"})
    first = dict(ask.browser.cookies)
    ask("/login", {"user": "berta"})
    assert ask.browser.cookies != first
    assert json.loads(ask("/me").body) == {"user": "berta", "cart": []}
    ask.browser.cookies = first
    assert ask("/me").status == 401


def test_a_page_that_does_not_exist_is_404(ask):
    assert ask("/nothing").status == 404


def test_a_store_that_cannot_be_asked_is_503_and_takes_no_cookie(ask, store, monkeypatch):
    ask("/login", {"user": "anna"})
    held = dict(ask.browser.cookies)

    def refuse(_token):
        raise SessionUnavailableError("nobody answers")

    monkeypatch.setattr(store, "load", refuse)
    answer = ask("/me")
    assert (answer.status, answer.header("retry-after").isdigit()) == (503, True)
    assert ask("/").status == 200
    monkeypatch.undo()
    assert ask.browser.cookies == held
    assert ask("/me").status == 200
