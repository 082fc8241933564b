"""On an event loop the session is asynchronous from end to end."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import SyncToAsync
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpResponse
from django.test import AsyncRequestFactory

from clustercache.django import SessionMiddleware, stores
from clustercache.django.sessions import SessionStore
from tests.frameworks import django_site  # noqa: F401 - gives the settings first
from tests.frameworks.django_requests import set_to

pytestmark = pytest.mark.live


def run(view, token=None):
    request = AsyncRequestFactory().get("/")
    if token is not None:
        request.COOKIES["sessionid"] = token

    async def get_response(request):
        await view(request.session)
        return HttpResponse("done")

    return asyncio.run(SessionMiddleware(get_response)(request))


async def _use(session):
    await session.aset("a", 1)
    await session.aupdate({"b": 2, 3: "c"})
    assert await session.aget("a") == 1
    assert await session.asetdefault("d", 4) == 4
    assert await session.apop("d") == 4
    assert await session.ahas_key(3)
    assert await session.aincr("a") == 2
    await session.aappend("list", 5)
    await session.aset_test_cookie()
    assert await session.atest_cookie_worked()
    await session.adelete_test_cookie()
    await session.acycle_key()


def test_no_thread_is_used(site, monkeypatch):
    async def never(self, *args, **options):
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr(SyncToAsync, "__call__", never)
    token = set_to(run(_use))

    async def go_on(session):
        assert dict(await session.aitems()) == {"a": 2, "b": 2, "3": "c", "list": [5]}
        await session.aflush()

    assert set_to(run(go_on, token)) == ""


def test_a_session_that_is_not_loaded_does_not_block_the_loop(site):
    token = set_to(run(_use))

    async def look(session):
        with pytest.raises(SynchronousOnlyOperation, match="aget"):
            session.get("a")
        await session.aget("a")
        assert session["a"] == 2

    assert run(look, token).status_code == 200


def test_every_asynchronous_method_of_djangos_is_ours_or_does_no_io(site):
    async def use():
        session = SessionStore()
        await session.acreate()
        await session.aset_expiry(30)
        await session.asave()
        assert await session.aexists(session.session_key)
        assert await session.aget_expiry_age() == 30
        assert not await session.aget_expire_at_browser_close()
        await session.adelete()
        assert not await session.aexists(session.session_key)
        await session.aclear_expired()
        await stores.astore().aclose()

    asyncio.run(use())
