"""The floor: what no Python client can beat, for it leaves out all that a client is for.

Blocking sockets without any timeout, hiredis to pack and parse, and the slot table of the moment it
started. No redirects, no retries, no pool, and one thread only.
"""

from __future__ import annotations

import socket
from binascii import crc_hqx

import hiredis

_READ_SIZE = 65536


class Link:
    """One socket and its reader."""

    __slots__ = ("reader", "recv", "send", "sock")

    def __init__(self, address):
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send, self.recv = self.sock.sendall, self.sock.recv
        self.reader = hiredis.Reader(notEnoughData=Ellipsis)

    def read(self):
        gets = self.reader.gets
        reply = gets()
        while reply is Ellipsis:
            data = self.recv(_READ_SIZE)
            if not data:
                raise ConnectionError("the node closed the connection")
            self.reader.feed(data)
            reply = gets()
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def ask(self, *words):
        self.send(hiredis.pack_command(words))
        return self.read()


def slot_ranges(address):
    """Return what a node answers to CLUSTER SLOTS."""
    first = Link(address)
    with first.sock:
        return first.ask("CLUSTER", "SLOTS")


class Floor:
    """Sockets to all primaries, for one thread."""

    def __init__(self, address):
        self._links = {}
        self._table = [None] * 16384
        for start, end, (host, port, *_), *_ in slot_ranges(address):
            link = self._links.get((host, port)) or Link((host, port))
            self._links[host, port] = link
            self._table[start : end + 1] = [link] * (end + 1 - start)

    def get(self, key):
        link = self._table[crc_hqx(key.encode(), 0) & 0x3FFF]
        link.send(hiredis.pack_command(("GET", key)))
        return link.read()

    def set(self, key, value):
        link = self._table[crc_hqx(key.encode(), 0) & 0x3FFF]
        link.send(hiredis.pack_command(("SET", key, value)))
        return link.read()

    def mget(self, keys):
        """One GET for each key, as nodes refuse an MGET across slots; one write to each node."""
        shares = {}
        table, pack = self._table, hiredis.pack_command
        for at, key in enumerate(keys):
            link = table[crc_hqx(key.encode(), 0) & 0x3FFF]
            share = shares.get(link)
            if share is None:
                share = shares[link] = ([], [])
            share[0].append(pack(("GET", key)))
            share[1].append(at)
        for link, (commands, _) in shares.items():
            link.send(b"".join(commands))
        values = [None] * len(keys)
        for link, (_, places) in shares.items():
            for at in places:
                values[at] = link.read()
        return values

    pipeline = mget

    def close(self):
        for link in self._links.values():
            link.sock.close()
