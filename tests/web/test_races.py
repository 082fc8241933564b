"""Requests of one session at the same time, through each framework under a real web server."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from contextlib import contextmanager

import pytest

from clustercache import Cluster
from clustercache.cli.demo.browser import Browser
from tests.web.marks import PREFIX
from tests.web.servers import WebServer, gunicorn, uvicorn

pytestmark = [pytest.mark.live, pytest.mark.timeout(110)]
ROUNDS = 1000
AT_ONCE = 8
"""Sessions whose rounds go on side by side."""
WAIT = 0.004
"""Seconds for which a writer has loaded a session and not changed it yet, at most."""
RENEW_AFTER, GRACE = 1.5, 1.0
OK = {200, 303}
APPS = {
    "plain": gunicorn("race_plain:app"),
    "flask": gunicorn("race_flask:app"),
    "django": gunicorn("race_django:app"),
    "asgi": uvicorn("race_asgi:app"),
}
each_framework = pytest.mark.parametrize("framework", APPS)


@contextmanager
def racing(framework, cluster, directory, **settings):
    """Start a framework's application, and tell where it is."""
    environment = {"CLUSTERCACHE_URL": cluster.url, "SETTINGS": json.dumps(settings)}
    with WebServer(APPS[framework], directory, environment) as server:
        yield server


class Racer:
    """One session, and what browsers that have its cookie do.

    Attributes:
        cookies: Of the session.
    """

    def __init__(self, server, user):
        self._servers = [server.address]
        self._user = user
        self.cookies = {}

    async def log_in(self):
        browser = Browser(self._servers)
        answer = await browser.post("/login", {"user": self._user})
        assert answer.status in OK, answer
        self.cookies = browser.cookies
        assert len(self.cookies) == 1

    async def read(self):
        """Return the answer, and the cookies that the browser has then."""
        browser = self._browser()
        return await browser.get("/read"), browser.cookies

    async def put(self, name, value, wait=0.0):
        return await self._browser().post("/put", {"name": name, "value": value, "wait": wait})

    async def log_out(self, wait=0.0):
        await asyncio.sleep(wait)
        return await self._browser().post("/logout", {})

    @property
    def key(self):
        (token,) = self.cookies.values()
        return f"{PREFIX}:s:{token.partition('.')[0]}"

    def _browser(self):
        browser = Browser(self._servers)
        browser.cookies = dict(self.cookies)
        return browser


def play(server, rounds):
    """Run `rounds`, a coroutine of a racer, for several at once."""

    async def all_of_them():
        racers = [Racer(server, f"racer{number}") for number in range(AT_ONCE)]
        await asyncio.gather(*map(rounds, racers))

    asyncio.run(all_of_them())


@each_framework
def test_two_requests_that_change_different_keys_both_win(framework, cluster, tmp_path):
    async def rounds(racer):
        await racer.log_in()
        for number in range(ROUNDS // AT_ONCE):
            waits = random.uniform(0, WAIT), random.uniform(0, WAIT)
            puts = [racer.put(name, str(number), w) for name, w in zip("ab", waits, strict=True)]
            answers = await asyncio.gather(*puts)
            assert [answer.status for answer in answers] == [200, 200]
            answer, _ = await racer.read()
            found = json.loads(answer.body)
            assert (found["a"], found["b"]) == (str(number), str(number))

    with racing(framework, cluster, tmp_path) as server:
        play(server, rounds)


@each_framework
def test_a_logout_wins_over_a_slow_writer(framework, cluster, tmp_path, record_property):
    seen = Counter()

    async def rounds(racer):
        for number in range(ROUNDS // AT_ONCE):
            await racer.log_in()
            writer, logout = await asyncio.gather(
                racer.put("a", str(number), random.uniform(0, WAIT)),
                racer.log_out(random.uniform(0, WAIT)),
            )
            seen[writer.status] += 1
            assert logout.status in OK
            answer, cookies = await racer.read()
            assert answer.status == 401
            assert cookies == racer.cookies, "only a logout deletes a cookie"
            assert client.exists(racer.key) == 0

    with Cluster.from_url(cluster.url) as client, racing(framework, cluster, tmp_path) as server:
        play(server, rounds)
    record_property("writers", dict(seen))
    gone = 400 if framework == "django" else 409
    assert set(seen) <= {200, 401, gone}
    assert seen[200] > ROUNDS / 20, "no writer was first"
    assert seen[gone] > ROUNDS / 20, "no logout came between a writer's load and save"


async def renew_at_once(racer):
    """Race three requests for the renewal that is due; return the cookies of the one that won."""
    answers = await asyncio.gather(*(racer.read() for _ in range(3)))
    assert [answer.status for answer, _ in answers] == [200] * 3
    (successor,) = [cookies for _, cookies in answers if cookies != racer.cookies]
    return successor


async def use_both(racer, successor):
    """Check that the old token is good for a while beside the new one, and then not."""
    old = racer.cookies
    for cookies in (old, successor, old):
        racer.cookies = cookies
        answer, then = await racer.read()
        assert (answer.status, then) == (200, cookies)
    await asyncio.sleep(GRACE + 0.1)
    assert (await racer.read())[0].status == 401
    racer.cookies = successor
    assert (await racer.read())[0].status == 200


async def lose(racer, _successor):
    """Check that whoever never got the new token is not thrown out, and gets another one."""
    answer, then = await racer.read()
    assert (answer.status, then) == (200, racer.cookies)
    await asyncio.sleep(GRACE + 0.1)
    racer.cookies = await renew_at_once(racer)
    assert (await racer.read())[0].status == 200


@each_framework
def test_concurrent_renewals_make_one_successor(framework, cluster, tmp_path):
    async def one_round(racer, gate, go_on):
        async with gate:
            await racer.log_in()
        await asyncio.sleep(RENEW_AFTER + 0.1)
        async with gate:
            successor = await renew_at_once(racer)
        await go_on(racer, successor)

    async def all_rounds(server):
        gate = asyncio.Semaphore(AT_ONCE)
        racers = [Racer(server, f"renewer{number}") for number in range(ROUNDS)]
        what = itertools.cycle([use_both, lose])
        await asyncio.gather(*(one_round(racer, gate, next(what)) for racer in racers))

    with racing(framework, cluster, tmp_path, renew_after=RENEW_AFTER, grace=GRACE) as server:
        asyncio.run(all_rounds(server))
