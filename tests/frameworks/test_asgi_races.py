"""Requests at the same time, a thousand times over: nothing is lost, and nobody comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from secrets import token_hex

import pytest

from clustercache.asgi import SessionMiddleware
from clustercache.sessions import AsyncSessionStore
from tests.frameworks.asgi_browser import Browser, page, paths

ROUNDS = 1000
pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(110),
    pytest.mark.parametrize("where", ["cluster", "memory"]),
]


@pytest.fixture
def url(where, request):
    return "memory://" if where == "memory" else request.getfixturevalue("cluster").url


def race(url, main, **options):
    """Run `main(store)`, which is to take a while."""

    async def run():
        prefix = f"races-{token_hex(4)}"  # the cluster is shared
        async with AsyncSessionStore.from_url(url, prefix=prefix, **options) as store:
            await main(store)

    asyncio.run(asyncio.wait_for(run(), 100))


def met(barrier):
    """Return views that are all at work before any of them ends."""

    async def put(session, scope):
        name = scope["path"].rpartition("/")[2]
        session[name] = session.get(name, 0) + 1
        await barrier.wait()

    async def look(session, scope):
        seen = dict(session)
        await barrier.wait()
        return seen

    async def logout(session, scope):
        session.get("a")
        await barrier.wait()
        session.logout()

    return paths(put=put, look=look, logout=logout)


def test_two_requests_that_change_different_keys_lose_nothing(url):
    async def main(store):
        view = met(asyncio.Barrier(2))
        browser = Browser(SessionMiddleware(page(view), store=store))
        browser.cookies["session"] = token = (await store.create({"a": 0, "b": 0})).token
        for _ in range(ROUNDS):
            answers = await asyncio.gather(browser.get("/put/a"), browser.get("/put/b"))
            assert [one.status for one in answers] == [200, 200]
        assert browser.cookies == {"session": token}
        assert dict(await store.load(token)) == {"a": ROUNDS, "b": ROUNDS}

    race(url, main)


def test_a_logout_is_never_undone_by_a_slow_writer(url):
    async def main(store):
        app = SessionMiddleware(page(met(asyncio.Barrier(2))), store=store)
        seen = set()
        for number in range(ROUNDS):
            token = (await store.create({"a": 0})).token
            leaving, writing = (Browser(app, cookies={"session": token}) for _ in range(2))
            if number % 2:  # who comes last goes on first
                wrote, left = await asyncio.gather(writing.get("/put/a"), leaving.get("/logout"))
            else:
                left, wrote = await asyncio.gather(leaving.get("/logout"), writing.get("/put/a"))
            assert left.status == 200
            assert leaving.cookies == {}
            assert wrote.status in {200, 409}
            assert writing.cookies == {"session": token}
            assert await store.load(token) is None
            seen.add(wrote.status)
        assert seen == {200, 409}
        assert await store.count() == 0

    race(url, main, ack_replicas=0)


async def age(store, token):
    """Make a token old enough for its renewal."""
    key = f"{store.settings.prefix}:s:{token.split('.')[0]}"
    if store.client is None:
        store._sent._memory._held[key].fields[b"_r"] = b"1"
    else:
        await store.client.hset(key, "_r", "1")


def test_of_requests_at_the_same_time_one_renews_the_token_and_nobody_is_thrown_out(url):
    async def main(store):
        app = SessionMiddleware(page(met(asyncio.Barrier(3))), store=store)
        for _ in range(ROUNDS):
            token = (await store.create({"a": 0})).token
            await age(store, token)
            browsers = [Browser(app, cookies={"session": token}) for _ in range(3)]
            answers = await asyncio.gather(*(one.get("/look") for one in browsers))
            assert [one.json for one in answers] == [{"a": 0}] * 3
            (renewed,) = {one.cookies["session"] for one in browsers} - {token}
            assert len([one for one in answers if one.one("set-cookie")]) == 1
            assert await store.load(token) is not None, "the answer may have been lost"
            assert await store.load(renewed) is not None

    race(url, main)


def test_no_session_of_a_login_survives_a_log_out_everywhere_unlisted(url, where):
    async def login(session, scope):
        session.login("u1")

    async def main(store):
        app = SessionMiddleware(page(login), store=store)
        seen = Counter()
        for number in range(ROUNDS):
            browser = Browser(app)

            async def later(trips=number % 6):
                for _ in range(trips):  # as a login takes a few of them
                    await store.sessions_of("nobody")
                return await store.revoke_all("u1")

            answer, _ = await asyncio.gather(browser.get(), later())
            seen[answer.status] += 1
            listed = [one.public_id for one in await store.sessions_of("u1")]
            if answer.status == 409:
                assert browser.cookies == {}
                assert listed == []
            else:
                session = await store.load(browser.cookies["session"])
                assert listed == ([] if session is None else [session.public_id])
        # In this process a login takes no time.
        assert set(seen) == ({200} if where == "memory" else {200, 409})
        assert await store.revoke_all("u1") <= 1
        assert await store.count() == 0

    race(url, main, ack_replicas=0)
