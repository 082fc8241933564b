"""Brings a request its session, saves it, and sets its cookie.

    MIDDLEWARE = [..., "clustercache.django.SessionMiddleware", ...]

Takes the place of Django's, of which it is a subclass. What differs: it is asynchronous from end to
end; a cluster that cannot be asked is a 503 with Retry-After, and for who only reads no trouble at
all; and it deletes a cookie at logout and flush only, never because a request came late.
"""

from __future__ import annotations

import math
import time
from typing import Any

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoMiddleware
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.template import TemplateDoesNotExist, loader
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import http_date
from django.utils.log import log_response

from clustercache.django import users
from clustercache.django.sessions import SessionGone, SessionStore
from clustercache.exceptions import (
    OutcomeUnknownError,
    SessionLimitError,
    SessionUnavailableError,
)

_IN_VAIN = (SessionGone, SessionUnavailableError, OutcomeUnknownError)
_AWAY = (SessionUnavailableError, OutcomeUnknownError)
_TEXT = "Service Unavailable: the session cannot be reached. Please try again."


class SessionMiddleware(DjangoMiddleware):  # type: ignore[misc]
    """Django's session middleware, for sessions in a cluster."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        users.connect()

    def process_request(self, request: Any) -> None:
        """Give the request its session; nothing is asked yet."""
        session = self.SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        request.session = session
        if isinstance(session, SessionStore):
            session.meta = request.META
            users.current.set(session)

    def __call__(self, request: Any) -> Any:
        """Answer a request."""
        if self.async_mode:
            return self.__acall__(request)
        self.process_request(request)
        try:
            response = self.get_response(request)
            return self.process_response(request, response)
        except _AWAY as error:
            # It was raised again where Django made an error page of the first.
            return _unavailable(request, error)
        finally:
            users.current.set(None)  # what the thread does next is another's

    async def __acall__(self, request: Any) -> Any:
        """Answer a request without a thread."""
        self.process_request(request)
        try:
            response = await self.get_response(request)
            return await self._aprocess_response(request, response)
        except _AWAY as error:
            return _unavailable(request, error)
        finally:
            users.current.set(None)

    async def _aprocess_response(self, request: Any, response: Any) -> Any:
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            from asgiref.sync import sync_to_async

            return await sync_to_async(self.process_response)(request, response)
        if settings.SESSION_SAVE_EVERY_REQUEST and session.session_key is not None:
            (await session._aget_session()).touch()  # noqa: SLF001 - Django's own name for it
        if not session.accessed:
            return response
        if _is_to_be_saved(session, response):
            try:
                await session.asave()
            except _IN_VAIN as error:
                response = _judged(request, response, session, error)
            except SessionLimitError as error:
                raise PermissionDenied(str(error)) from error
        return _finished(request, response, session)

    def process_response(self, request: Any, response: Any) -> Any:
        """Save the session if there is reason to, and set or delete the cookie."""
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            return super().process_response(request, response)
        if settings.SESSION_SAVE_EVERY_REQUEST and session.session_key is not None:
            session.inner.touch()
        if not session.accessed:
            return response
        if _is_to_be_saved(session, response):
            try:
                session.save()
            except _IN_VAIN as error:
                response = _judged(request, response, session, error)
            except SessionLimitError as error:
                raise PermissionDenied(str(error)) from error
        return _finished(request, response, session)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """Answer 503 where no middleware further in has dealt with an unreachable session."""
        if isinstance(exception, _AWAY):
            return _unavailable(request, exception)
        return None


def _is_to_be_saved(session: SessionStore, response: Any) -> bool:
    found = session._session_cache_or_none()  # noqa: SLF001 - ours
    if found is None and session._clear_due:  # noqa: SLF001 - ours
        return bool(response.status_code < 500)
    if found is None or response.status_code >= 500:
        return False
    if session.failure is not None or session.is_empty():
        # Nothing was set, or nothing can be kept: with "anonymous", that is no trouble by itself.
        return bool(found.modified)
    return True


def _judged(request: Any, response: Any, session: SessionStore, error: Exception) -> Any:
    """Return the response where a save was in vain: as it is, if nothing was to be kept."""
    if isinstance(error, SessionGone) and (session.modified or session.inner.modified):
        raise error
    if not session.inner.modified:
        session.saved_in_vain = True
        return response
    answer = _unavailable(request, error)
    # Closing the old response would tell everybody that the request is over.
    answer._resource_closers.extend(response._resource_closers)  # noqa: SLF001
    return answer


def _finished(request: Any, response: Any, session: SessionStore) -> Any:
    if session.failure is not None and response.status_code == 500:
        # Another middleware's look at the session failed, and Django made that a 500.
        response.status_code = 503
        _retry_after(response, session.failure)
    name = settings.SESSION_COOKIE_NAME
    sent = request.COOKIES.get(name)
    key = session.session_key
    if key is None:
        if session.flushed and sent is not None:
            _delete_cookie(response, name)
    elif key != sent or _is_to_be_sent_again(session):
        _set_cookie(response, name, session)
    if response.has_header("Vary"):
        patch_vary_headers(response, ("Cookie",))
    else:
        response.headers["Vary"] = "Cookie"
    return response


def _is_to_be_sent_again(session: SessionStore) -> bool:
    """Tell whether the browser should keep the same token for longer."""
    if session.failure is not None or session.saved_in_vain:
        return False
    if not (session.refresh_due or settings.SESSION_SAVE_EVERY_REQUEST):
        return False
    return session.is_current and not session.inner.is_new


def _set_cookie(response: Any, name: str, session: SessionStore) -> None:
    max_age = expires = None
    if not session.get_expire_at_browser_close():
        max_age = session.get_expiry_age()
        expires = http_date(time.time() + max_age)
    response.set_cookie(
        name,
        session.session_key,
        max_age=max_age,
        expires=expires,
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE or None,
        httponly=settings.SESSION_COOKIE_HTTPONLY or None,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )
    patch_cache_control(response, no_store=True, private=True)


def _delete_cookie(response: Any, name: str) -> None:
    response.delete_cookie(
        name,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN,
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )
    if settings.SESSION_COOKIE_SECURE:
        response.cookies[name]["secure"] = True
    patch_cache_control(response, no_store=True, private=True)


def _unavailable(request: Any, error: Exception) -> HttpResponse:
    """Return a 503: the project's 503.html, if it has one."""
    try:
        text = loader.get_template("503.html").render()
    except (TemplateDoesNotExist, ImportError):
        text = ""
    kind = None if text else "text/plain; charset=utf-8"
    response = HttpResponse(text or _TEXT, status=503, content_type=kind)
    _retry_after(response, error)
    log_response(
        "Service Unavailable (session): %s",
        request.path,
        response=response,
        request=request,
        exception=error,
    )
    return response


def _retry_after(response: Any, error: Exception) -> None:
    seconds = getattr(error, "retry_after", SessionUnavailableError.retry_after)
    response.headers["Retry-After"] = str(max(math.ceil(seconds), 1))
