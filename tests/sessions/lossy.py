"""A server whose replies get lost: a fake one that asks a real one, and may keep the answer."""

from __future__ import annotations

import socket

import hiredis

from clustercache.testing import FakeServer, close_before_reply, raw

_FORWARDED = ("HGETALL", "PTTL", "EVALSHA", "EVAL", "UNLINK", "INFO", "ROLE", "ZREM", "EXISTS")


class Lossy(FakeServer):
    """Forwards to a real server, in RESP2.

    Attributes:
        lose: Called with each command that was carried out; true loses the reply.
        refuse: Called before; true hangs up without carrying it out.
    """

    def __init__(self, node):
        super().__init__()
        self._socket = socket.create_connection((node.host, node.port), 10)
        self.lose = self.refuse = lambda _: False
        for name in (*_FORWARDED, "HMGET", "CLUSTER"):
            self.on(name, self._forward)

    def _forward(self, command, _):
        if self.refuse(command):
            return close_before_reply()
        answer = self._carried_out(command)
        return close_before_reply() if self.lose(command) else raw(answer)

    def _carried_out(self, command):
        """Return the bytes of a real reply."""
        self._socket.sendall(hiredis.pack_command(tuple(command)))
        reader, data = hiredis.Reader(notEnoughData=self), b""
        while True:
            some = self._socket.recv(65536)
            data += some
            reader.feed(some)
            if reader.gets() is not self:
                return data

    def close(self):
        super().close()
        self._socket.close()


def first(count, name, holding=b""):
    """Return what is true for the first commands of a name that hold a word."""
    left = [count]

    def asked(command):
        if command.name != name or not any(holding in word for word in command):
            return False
        left[0] -= 1
        return left[0] >= 0

    return asked
