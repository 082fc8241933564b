"""The little shop in each framework, under a real web server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web.servers import WebServer, gunicorn, uvicorn

if TYPE_CHECKING:
    from pathlib import Path

SHOPS = {
    "plain": "shop_plain:app",
    "flask": "shop_flask:app",
    "django": "shop_django:application",
    "fastapi": "shop_fastapi:app",
}
FRAMEWORKS = list(SHOPS)


def opened(framework: str, url: str, directory: Path) -> WebServer:
    """Return a shop that is starting, with several workers; answers tell which of them made it."""
    environment = {"CLUSTERCACHE_URL": url, "SHOP": SHOPS[framework]}
    serve, kind = (uvicorn, "asgi") if framework == "fastapi" else (gunicorn, "wsgi")
    return WebServer(serve(f"witness:{kind}"), directory / framework, environment)
