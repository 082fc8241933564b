"""What is answered in place of an application that could not have its session."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from clustercache.exceptions import (
    OutcomeUnknownError,
    SessionError,
    SessionGoneError,
    SessionLimitError,
    SessionRevokedError,
    SessionUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

ANSWERED: Final = (SessionError, OutcomeUnknownError)
"""What may be answered; with `status_of` it is, else it is the application's own error."""

_STATUS: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (SessionUnavailableError, 503, "Sessions cannot be reached at the moment. Try again.\n"),
    (OutcomeUnknownError, 503, "It is not known whether the session was saved. Look again.\n"),
    (SessionGoneError, 409, "The session was ended meanwhile. Nothing was saved.\n"),
    (SessionRevokedError, 409, "All sessions were ended during the login. Log in again.\n"),
    (SessionLimitError, 409, "Too many sessions at a time. Log out elsewhere first.\n"),
)

_TRY_AGAIN_LATER: Final = 1013
_POLICY_VIOLATION: Final = 1008


def status_of(error: Exception) -> int | None:
    """Return the status that tells of an error; None for one that no status of ours tells."""
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), None)


async def answer(error: Exception, send: Send, begin: str = "http.response") -> None:
    """Send a whole response that tells of an error, and leaves the cookie alone.

    Args:
        error: One that `status_of` knows.
        send: The server's.
        begin: Of its messages' types.
    """
    status, text = next((s, text) for kind, s, text in _STATUS if isinstance(error, kind))
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        after = getattr(error, "retry_after", SessionUnavailableError.retry_after)
        headers.append((b"retry-after", b"%d" % after))
    await send({"type": f"{begin}.start", "status": status, "headers": headers})
    await send({"type": f"{begin}.body", "body": body})


async def answer_websocket(error: Exception, scope: Scope, send: Send, *, accepted: bool) -> None:
    """Close a websocket with a code that tells of an error; refuse it, where that is not too late.

    Args:
        error: One that `status_of` knows.
        scope: Of the connection.
        send: The server's.
        accepted: Whether the handshake is over.
    """
    if not accepted and "websocket.http.response" in (scope.get("extensions") or {}):
        await answer(error, send, "websocket.http.response")
        return
    later = status_of(error) == 503
    code = _TRY_AGAIN_LATER if later else _POLICY_VIOLATION
    await send({"type": "websocket.close", "code": code, "reason": "session"})


async def answered_by_application(
    error: Exception, scope: Scope, receive: Receive, send: Send
) -> bool:
    """Let the application's own handler answer, where its framework tells us of one.

    A save happens when the response is being sent already, where Starlette and FastAPI do not
    handle errors any more; but their handlers are in the scope.
    """
    known: tuple[dict[Any, Any], dict[Any, Any]]
    known = scope.get("starlette.exception_handlers") or ({}, {})
    handlers, by_status = known
    found = (handlers[kind] for kind in type(error).__mro__ if kind in handlers)
    handler = next(found, by_status.get(status_of(error)))
    if handler is None:
        return False
    from starlette.requests import Request

    response = handler(Request(scope, receive), error)
    if isawaitable(response):
        response = await response
    await response(scope, receive, send)
    return True
