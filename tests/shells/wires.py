"""Plain sockets and redis-py, pointed at a fake server."""

from __future__ import annotations

import contextlib
import socket

import redis

from clustercache.testing import (
    reply,
)


@contextlib.contextmanager
def dial(server):
    with socket.create_connection((server.host, server.port), timeout=5) as sock:
        yield sock


@contextlib.contextmanager
def client(server, **options):
    options = {"socket_timeout": 5, "protocol": 2, "retry": None} | options
    with redis.Redis(host=server.host, port=server.port, **options) as connected:
        yield connected


def request(*words):
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return reply(encoded).resp2


def ask(sock, *words, expect):
    sock.sendall(request(*words))
    assert receive(sock, len(expect)) == expect


def answer(server, *words, after=()):
    """The first line of a server's answer, on a connection of its own."""
    with dial(server) as sock:
        for word in after:
            ask(sock, word, expect=b"+OK\r\n")
        sock.sendall(request(*words))
        with sock.makefile("rb") as lines:
            return lines.readline().decode().strip()


def receive(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


# Replies
