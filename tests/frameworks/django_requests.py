"""Requests through the session middleware alone, blocking or on an event loop, as one."""

from __future__ import annotations

import asyncio

from django.conf import settings
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from clustercache.django import SessionMiddleware, stores
from clustercache.django.sessions import SessionStore


class Blocking:
    """Runs views with the blocking middleware."""

    name = "blocking"

    def request(self, token=None, **headers):
        request = RequestFactory().get("/", **headers)
        if token is not None:
            request.COOKIES[settings.SESSION_COOKIE_NAME] = token
        return request

    def answer(self, view, token=None, status=200, **headers):
        """Return the response to a request whose session a view is given."""

        def get_response(request):
            view(request.session)
            return HttpResponse("done", status=status)

        return SessionMiddleware(get_response)(self.request(token, **headers))

    def token(self, view=lambda session: session.update({"a": 1})):
        """Return the token of a new session that a view has made."""
        return set_to(self.answer(view))

    def read(self, token):
        """Return what a session holds, None if there is none."""
        found = stores.store().load(token)
        return None if found is None else dict(found.items())


class Looping(Blocking):
    """Runs the same views natively: each step is the session's asynchronous one."""

    name = "looping"

    def request(self, token=None, **headers):
        request = AsyncRequestFactory().get("/", **headers)
        if token is not None:
            request.COOKIES[settings.SESSION_COOKIE_NAME] = token
        return request

    def answer(self, view, token=None, status=200, **headers):
        async def get_response(request):
            session = request.session
            await asyncio.to_thread(view, session)
            return HttpResponse("done", status=status)

        async def run():
            return await SessionMiddleware(get_response)(self.request(token, **headers))

        return asyncio.run(run())


def set_to(response):
    """Return the token that a response sets; None where it leaves the cookie alone."""
    morsel = response.cookies.get(settings.SESSION_COOKIE_NAME)
    return None if morsel is None else morsel.value


def elsewhere(token, view):
    """Do something to a session by another request, and return its token then."""
    session = SessionStore(token)
    view(session)
    session.save()
    return session.session_key


def grow_old(token):
    """Make a token an hour old, so that its renewal is due."""
    made = stores.store().load(token).facts.made
    stores.store().client.hset(f"session:s:{token.split('.')[0]}", "_r", made - 3_600_000)
