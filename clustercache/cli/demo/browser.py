"""A browser, as far as a session needs one: requests, answers, and a jar of cookies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clustercache._core.address import Address

TIMEOUT = 30.0
"""Seconds after which a browser gives up on an answer."""


class Answer(NamedTuple):
    """What a web server answered; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of a name (in lower case), or an empty string."""
        return next((value for known, value in self.headers if known == name), "")


class Browser:
    """One user's browser. Each request goes to the next server, as a load balancer would send it.

    Args:
        servers: Where the application runs.
        first: Which of the servers gets the first request.

    Attributes:
        cookies: The jar.
        server: Who was asked last.
        changed: How many cookies of the jar got another value.
        deleted: How many were deleted.
    """

    __slots__ = ("_next", "_servers", "changed", "cookies", "deleted", "server")

    def __init__(self, servers: Sequence[Address], first: int = 0) -> None:
        self.cookies: dict[str, str] = {}
        self.changed = self.deleted = 0
        self.server: Address | None = None
        self._servers = servers
        self._next = first

    async def get(self, path: str) -> Answer:
        """Ask for a page.

        Raises:
            OSError: No answer, TimeoutError included.
            ValueError: It is no HTTP.
        """
        return await self._ask("GET", path, b"")

    async def post(self, path: str, form: Mapping[str, str]) -> Answer:
        """Send a form; raises as `get`."""
        return await self._ask("POST", path, urlencode(form).encode())

    async def _ask(self, method: str, path: str, body: bytes) -> Answer:
        self.server = server = self._servers[self._next % len(self._servers)]
        self._next += 1
        head = [f"{method} {path} HTTP/1.0", f"Host: {server}"]
        if self.cookies:
            jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            head.append(f"Cookie: {jar}")
        if method == "POST":
            head.append("Content-Type: application/x-www-form-urlencoded")
            head.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*head, "", ""]).encode() + body
        answer = _parsed(await _exchanged(server, request))
        self._keep(answer)
        return answer

    def _keep(self, answer: Answer) -> None:
        for header, text in answer.headers:
            if header == "set-cookie":
                cookie, *attributes = (part.strip() for part in text.split(";"))
                name, _, value = cookie.partition("=")
                self._keep_one(name, value, over=any(map(_is_over, attributes)))

    def _keep_one(self, name: str, value: str, *, over: bool) -> None:
        before = self.cookies.pop(name, None)
        if over or not value:
            self.deleted += before is not None
            return
        self.changed += before not in {None, value}
        self.cookies[name] = value


def _is_over(attribute: str) -> bool:
    name, _, value = attribute.lower().partition("=")
    return (name == "max-age" and value == "0") or (name == "expires" and "1970" in value)


async def _exchanged(server: Address, request: bytes) -> bytes:
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


def _parsed(data: bytes) -> Answer:
    head, separator, body = data.partition(b"\r\n\r\n")
    version, status, *_ = [*head.partition(b"\r\n")[0].split(b" ", 2), b"", b""]
    if not separator or not version.startswith(b"HTTP/"):
        raise ValueError(f"an answer of {len(data)} bytes that is no HTTP")
    headers = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return Answer(int(status), tuple(headers), body)
