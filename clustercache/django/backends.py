"""The authentication backend by which Django trusts the logins of other frameworks."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError


class SessionBackend(ModelBackend):  # type: ignore[misc]
    """Trust a login that Flask or an ASGI application wrote to a session that Django shares.

    The session's user is the primary key, as a text, of one of Django's. Who is not active is not
    let in. Listed in AUTHENTICATION_BACKENDS after those that check passwords.
    """

    def authenticate(self, request: Any, **credentials: Any) -> None:
        """Know no credentials."""

    async def aauthenticate(self, request: Any, **credentials: Any) -> None:
        """Know no credentials."""

    def get_user(self, user_id: Any) -> Any:
        """Return the user with this primary key, or None."""
        try:
            return super().get_user(user_id)
        except (ValueError, TypeError, ValidationError):
            return None

    async def aget_user(self, user_id: Any) -> Any:
        """Return the user with this primary key, or None."""
        try:
            return await super().aget_user(user_id)
        except (ValueError, TypeError, ValidationError):
            return None
