"""A little shop in FastAPI: uvicorn shop_fastapi:app."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

import pages
from clustercache import AsyncCache, NearCache
from clustercache.asgi import SessionMiddleware
from clustercache.sessions import Session

cache = AsyncCache.from_url(os.environ["CLUSTERCACHE_URL"], namespace="shop", near=NearCache())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the cache when the server ends."""
    async with cache:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    SessionMiddleware,
    url=os.environ["CLUSTERCACHE_URL"],
    cookie="shop",  # the same in all three shops: a login is good in each
    exclude=["/"],  # these pages load their session only if they ask for it
)


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form."""
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}


def known(request: Request) -> Session:
    """Return the session of who is logged in; 401 for a stranger."""
    if request.session.user is None:
        raise HTTPException(401)
    return request.session


Form = Annotated[dict[str, str], Depends(form)]
Known = Annotated[Session, Depends(known)]


@app.get("/", response_class=HTMLResponse)
async def home() -> str:
    """Welcome everybody. The session is not looked at: this page needs no Redis."""
    return pages.home("FastAPI")


@app.post("/login")
async def login(request: Request, fields: Form) -> RedirectResponse:
    """Let anybody in. A real shop asks for a password first."""
    request.session.login(fields["user"])  # a new token for the cookie, the old one is dead
    request.session["cart"] = []
    return RedirectResponse("/cart", 303)


@app.get("/cart", response_class=HTMLResponse)
async def cart(session: Known) -> str:
    """Show the cart."""
    return pages.cart(session.user, session["cart"], "FastAPI")


@app.post("/cart")
async def add(session: Known, fields: Form) -> RedirectResponse:
    """Put something into the cart."""
    session.append("cart", fields["item"])  # no lost update, however many clicks at once
    return RedirectResponse("/cart", 303)


@app.get("/me")
async def me(session: Known) -> dict[str, Any]:
    """Tell a script who is logged in."""
    return {"user": session.user, "cart": session["cart"]}


@cache.cached(ttl=60, stale=600)
async def advice(item: str) -> list[str]:
    """Ask somebody slow what goes with something: one worker does, for all of them."""
    await asyncio.sleep(0.3)
    return [f"another {item}", f"a book about {item}"]


@app.get("/with/{item}")
async def goes_with(item: str) -> dict[str, Any]:
    """Tell a script what goes with something; of two that ask at once, one waits for the other."""
    return {"item": item, "advice": await advice(item), "near": advice.cache_stats().near_hits}


@app.post("/logout")
async def logout(request: Request) -> RedirectResponse:
    """End the session, on every server at once."""
    request.session.flush()
    return RedirectResponse("/", 303)
