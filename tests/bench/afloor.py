"""The floor in asyncio: what no client on asyncio's transports can beat.

One connection to each primary that all tasks share, hiredis to pack and parse, the slot table of
the moment it started, and a future for each command. What is sent while something is on its way
to a node is kept until the loop's next tick, and goes out in one write. No deadlines, no redirects,
no retries, no cancelling.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections import deque
from functools import partial

import hiredis

from tests.bench.floor import slot_ranges

# Given to asyncio to read into: a data_received() makes it allocate 256 KiB for every read instead,
# which the C library maps and unmaps each time. A command by itself costs a third more then.
_READ_SIZE = 65536


class _Link(asyncio.BufferedProtocol):
    """One connection.

    Replies belong to single commands in the order of their futures, or to the one pipeline that is
    on its way: works never mix the two.
    """

    def __init__(self, loop):
        self._call_soon = loop.call_soon
        self._future = loop.create_future
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._feed, self._gets = reader.feed, reader.gets
        self._waiting = deque()
        self._wait, self._next = self._waiting.append, self._waiting.popleft
        self._kept = []
        self._share = None
        self._buffer = bytearray(_READ_SIZE)

    def connection_made(self, transport):
        self.transport, self.write = transport, transport.write

    def send(self, command):
        """Send one command, and return the future of its reply."""
        future = self._future()
        if not self._waiting:
            self.write(command)
        else:
            if not self._kept:
                self._call_soon(self._flush)
            self._kept.append(command)
        self._wait(future)
        return future

    def _flush(self):
        self.write(b"".join(self._kept))
        self._kept.clear()

    def send_share(self, share):
        """Send a share of a pipeline."""
        self._share = share
        self.write(b"".join(share.commands))

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, nbytes):
        self._feed(self._buffer, 0, nbytes)
        if self._share is not None:
            if self._share.take(iter(self._gets, Ellipsis)):
                self._share = None
            return
        take = self._next
        for reply in iter(self._gets, Ellipsis):
            if isinstance(reply, hiredis.ReplyError):
                take().set_exception(reply)
            else:
                take().set_result(reply)

    def connection_lost(self, exc):
        error = exc or ConnectionError("the node closed the connection")
        if self._share is not None:
            self._waiting.append(self._share.whole)
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)


class _Share:
    """The part of a pipeline that one node answers.

    Args:
        whole: The future of the whole pipeline.
        unanswered: All its shares that still lack replies.
    """

    __slots__ = ("_unanswered", "commands", "places", "replies", "whole")

    def __init__(self, whole, unanswered):
        self.whole, self._unanswered = whole, unanswered
        self.commands, self.places, self.replies = [], [], []

    def take(self, replies):
        """Keep replies; return whether all are there."""
        self.replies.extend(replies)
        if len(self.replies) < len(self.places):
            return False
        self._unanswered.remove(self)
        if not self._unanswered and not self.whole.done():
            self.whole.set_result(None)
        return True


class AsyncFloor:
    """Connections to all primaries, for all tasks of one loop."""

    def __init__(self, loop):
        self._loop = loop
        self._links = {}
        self._table = [None] * 16384

    @classmethod
    async def connect(cls, address):
        """Return one that is connected to the cluster of this node."""
        loop = asyncio.get_running_loop()
        floor = cls(loop)
        for start, end, (host, port, *_), *_ in slot_ranges(address):
            link = floor._links.get((host, port))
            if link is None:
                _, link = await loop.create_connection(partial(_Link, loop), host, port)
                floor._links[host, port] = link
            floor._table[start : end + 1] = [link] * (end + 1 - start)
        return floor

    def get(self, key):
        return self._table[crc_hqx(key.encode(), 0) & 0x3FFF].send(
            hiredis.pack_command(("GET", key))
        )

    def set(self, key, value):
        return self._table[crc_hqx(key.encode(), 0) & 0x3FFF].send(
            hiredis.pack_command(("SET", key, value))
        )

    async def pipeline(self, keys):
        """One GET for each key; one write to each node, and one future for all."""
        shares, unanswered = {}, set()
        whole = self._loop.create_future()
        table, pack = self._table, hiredis.pack_command
        for at, key in enumerate(keys):
            link = table[crc_hqx(key.encode(), 0) & 0x3FFF]
            share = shares.get(link)
            if share is None:
                share = shares[link] = _Share(whole, unanswered)
            share.commands.append(pack(("GET", key)))
            share.places.append(at)
        unanswered.update(shares.values())
        for link, share in shares.items():
            link.send_share(share)
        await whole
        values = [None] * len(keys)
        for share in shares.values():
            for at, reply in zip(share.places, share.replies, strict=True):
                values[at] = reply
        for error in values:
            if isinstance(error, hiredis.ReplyError):
                raise error
        return values

    def close(self):
        for link in self._links.values():
            link.transport.close()
