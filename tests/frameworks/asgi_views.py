"""An application that looks at its session, puts something in, ends it, or does nothing."""

from __future__ import annotations

import asyncio

from clustercache.asgi import SessionMiddleware
from tests.frameworks.asgi_browser import Browser, page, paths
from tests.frameworks.asgi_faults import stored


async def look(session, scope):
    return dict(session)


async def put(session, scope):
    name, _, value = scope["path"].removeprefix("/put/").partition("/")
    session[name] = value
    return dict(session)


async def end(session, scope):
    session.flush()


async def nothing(session, scope):
    return None


VIEWS = paths(look=look, put=put, end=end, home=nothing)


def opened(store=None, view=VIEWS, headers=(), **options):
    store = store or stored()
    return Browser(SessionMiddleware(page(view, headers), store=store, **options)), store


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))
