"""What is answered when a session cannot be had, or not be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask.signals import got_request_exception
from redis.exceptions import RedisError
from werkzeug.exceptions import Conflict, HTTPException, InternalServerError, ServiceUnavailable

from clustercache.exceptions import (
    OutcomeUnknownError,
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
    SessionUnavailableError,
)

if TYPE_CHECKING:
    from flask import Flask
    from flask.wrappers import Response

_REPLACED: Final = frozenset({
    "accept-ranges",
    "age",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "location",
    "set-cookie",
})  # fmt: skip
"""Headers of an answer that is not given. What hooks added for all answers (CORS, CSP) stays."""


class _ToldError(HTTPException):
    """An error of ours that says by which status it is answered where nobody handles it.

    So Flask finds an application's handler for either: the status, or any class of the error.
    """

    __str__ = Exception.__str__

    @classmethod
    def of(cls, error: Exception) -> Exception:
        """Return an error as one with a status."""
        made = cls.__new__(cls, *error.args)
        made.__dict__ |= {"response": None} | error.__dict__
        made.__cause__ = error
        return made


class _UnavailableError(  # type: ignore[misc]
    _ToldError, SessionUnavailableError, ServiceUnavailable
):
    description = "Sessions cannot be reached at the moment. Try again."


class _UnknownError(_ToldError, OutcomeUnknownError, ServiceUnavailable):
    description = "It is not known whether the session was saved. Look again."
    retry_after = SessionUnavailableError.retry_after


class _GoneError(_ToldError, SessionGoneError, Conflict):
    description = "The session was ended meanwhile. Nothing was saved."


class _RevokedError(_ToldError, SessionRevokedError, Conflict):
    description = "All sessions were ended during the login. Log in again."


class _LimitedError(_ToldError, SessionLimitError, Conflict):
    description = "Too many sessions at a time. Log out elsewhere first."


_TOLD: Final[tuple[type[_ToldError], ...]] = (
    _UnavailableError,
    _UnknownError,
    _GoneError,
    _RevokedError,
    _LimitedError,
)


def with_status(error: Exception) -> Exception:
    """Return an error that is an HTTP error too, where a status tells of it."""
    for kind in _TOLD:
        if isinstance(error, kind.__mro__[2]):
            return kind.of(error)
    return error


def answer_instead(app: Flask, error: Exception, response: Response) -> None:
    """Turn a response into one that tells of an error, and touches no cookie. Never raises.

    Args:
        app: Whose handlers are asked first.
        error: That came up when the session was saved.
        response: The application's; what it says is not true any more.
    """
    told = with_status(error)
    try:
        answer = app.make_response(_handled(app, told))
    except Exception as unhandled:  # noqa: BLE001 - this is where the application's own errors end
        answer = _unhandled(app, told, unhandled)
    _become(response, answer)


def _handled(app: Flask, told: Exception) -> Any:
    try:
        raise told  # noqa: TRY301 - Flask wants one that is being handled
    except Exception as raised:  # noqa: BLE001 - and tells whether it has a handler
        return app.handle_user_exception(raised)


def _unhandled(app: Flask, told: Exception, unhandled: Exception) -> Any:
    """Return the answer where no handler gave one: as Flask's own, but without raising."""
    if unhandled is told and isinstance(told, HTTPException):
        return told.get_response()
    _log(app, unhandled)
    if unhandled is told and isinstance(told, RedisError) and not isinstance(told, ValueError):
        return ServiceUnavailable(retry_after=SessionUnavailableError.retry_after).get_response()
    failed = InternalServerError(original_exception=unhandled)
    try:
        got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=unhandled)
        return app.make_response(app.handle_http_exception(failed))
    except Exception as again:  # noqa: BLE001 - as above
        _log(app, again)
        return failed.get_response()


def _log(app: Flask, error: Exception) -> None:
    assert error.__traceback__ is not None  # noqa: S101 - it was raised
    app.log_exception((type(error), error, error.__traceback__))


def _become(response: Response, answer: Any) -> None:
    """Rewrite a response in place, for Flask holds on to it."""
    close = getattr(response.response, "close", None)
    if close is not None:
        response.call_on_close(close)
    for name in {name for name, _ in response.headers if name.lower() in _REPLACED}:
        response.headers.remove(name)
    for name in {name for name, _ in answer.headers}:
        response.headers.setlist(name, answer.headers.getlist(name))
    response.headers.remove("Set-Cookie")
    response.headers["Cache-Control"] = "no-store"
    response.status = answer.status
    response.response = answer.response
    response.direct_passthrough = answer.direct_passthrough
    response.vary.add("Cookie")
