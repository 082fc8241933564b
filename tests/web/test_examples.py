"""The examples run by the commands of their README, and a login in one is valid in all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import sys

import pytest

from clustercache.admin.waiting import wait_until
from clustercache.cli.demo.browser import Browser
from tests.web.servers import ROOT, WebServer

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]
README = ROOT / "examples" / "README.md"
FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAMEWORKS = ["flask", "django", "fastapi"]


def commands():
    """The README's lines that start a shop, each on a port of its own."""
    lines = "".join(FENCE.findall(README.read_text())).splitlines()
    for line in lines:
        if "shop_" in line:
            words = [re.sub(r"\b500\d$", "{port}", word) for word in shlex.split(line)]
            yield [sys.executable, "-m", *words]


@pytest.fixture(scope="module")
def shops(cluster, tmp_path_factory):
    """The addresses of all three, in the README's order."""
    with contextlib.ExitStack() as stack:
        environment = {"CLUSTERCACHE_URL": cluster.url}
        servers = [
            WebServer(words, tmp_path_factory.mktemp("shop"), environment) for words in commands()
        ]
        for server in servers:
            stack.callback(server.close)
        for server in servers:
            server.wait_ready()
        yield [server.address for server in servers]


def ask(browser, server, path, form=None):
    """One answer of one of the shops."""
    browser._servers = [server]
    return asyncio.run(browser.get(path) if form is None else browser.post(path, form))


def test_the_readme_starts_each_shop():
    started = [re.findall(r"shop_(\w+)", " ".join(words)) for words in commands()]
    assert started == [[name] for name in FRAMEWORKS]
    assert all(any("{port}" in word for word in words) for words in commands())


@pytest.mark.parametrize("first", range(3), ids=FRAMEWORKS)
def test_a_login_in_one_shop_is_valid_in_all_until_the_logout(shops, first):
    browser = Browser([])
    user = f"Anna <{FRAMEWORKS[first]}>"
    assert ask(browser, shops[first], "/login", {"user": user}).status == 303
    assert list(browser.cookies) == ["shop"]
    for number, shop in enumerate(shops):
        assert ask(browser, shop, "/cart", {"item": f"<tea> no. {number}"}).status == 303
    items = [f"<tea> no. {number}" for number in range(3)]
    for shop in shops:
        me = ask(browser, shop, "/me")
        assert (me.status, json.loads(me.body)) == (200, {"user": user, "cart": items})
        page = ask(browser, shop, "/cart").body.decode()
        assert f"Anna &lt;{FRAMEWORKS[first]}&gt;" in page
        assert "<li>&lt;tea&gt; no. 2</li>" in page
    held = dict(browser.cookies)
    last = shops[(first + 1) % 3]
    assert ask(browser, last, "/logout", {}).status == 303
    assert browser.cookies == {}
    for shop in shops:  # also for a thief who kept the cookie
        browser.cookies = dict(held)
        assert ask(browser, shop, "/me").status in {401, 403}
        assert browser.cookies == held  # only a logout deletes a cookie


def test_another_login_finds_an_empty_cart(shops):
    for shop in shops:
        browser = Browser([])
        for user in ("anna", "berta"):
            ask(browser, shop, "/login", {"user": user})
            me = json.loads(ask(browser, shop, "/me").body)
            assert me == {"user": user, "cart": []}
            ask(browser, shop, "/cart", {"item": "tea"})


def test_a_stranger_gets_no_cookie_and_no_cart(shops):
    for shop in shops:
        browser = Browser([])
        assert ask(browser, shop, "/").status == 200
        assert ask(browser, shop, "/me").status in {401, 403}
        assert ask(browser, shop, "/cart", {"item": "tea"}).status in {401, 403}
        assert browser.cookies == {}


def test_the_welcome_page_does_not_look_at_the_session(shops):
    for shop in shops:
        answer = ask(Browser([]), shop, "/")
        assert answer.header("vary") == ""
        assert b"A little shop" in answer.body


@pytest.mark.parametrize("number", range(3), ids=FRAMEWORKS)
def test_a_slow_function_is_asked_once_and_then_near(shops, number):
    shop = shops[number]
    first = json.loads(ask(Browser([]), shop, "/with/tea").body)
    assert first == {"item": "tea", "advice": ["another tea", "a book about tea"], "near": 0}

    def why_not_near():
        told = json.loads(ask(Browser([]), shop, "/with/tea").body)
        assert told["advice"] == first["advice"]
        return None if told["near"] else "it is not near"

    wait_until(why_not_near, 20, "the near cache")
