"""Sessions for ASGI applications: Starlette, FastAPI, Litestar, or none of them.

from clustercache.asgi import SessionMiddleware
app = SessionMiddleware(app, url="redis://127.0.0.1:7000")
"""

from __future__ import annotations

from clustercache.asgi.middleware import SessionMiddleware
from clustercache.asgi.session import RequestSession

__all__ = ["RequestSession", "SessionMiddleware"]
