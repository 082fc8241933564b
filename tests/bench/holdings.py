"""What servers hold, seen by none of the contenders."""

from __future__ import annotations

import hiredis

from tests.bench.floor import Link, slot_ranges


class Holdings:
    """The data of a standalone server, or of a cluster that one of its nodes stands for."""

    def __init__(self, address):
        try:
            addresses = {tuple(primary[:2]) for _, _, primary, *_ in slot_ranges(address)}
        except hiredis.ReplyError:  # it is in no cluster
            addresses = {address}
        self._links = [Link(one) for one in sorted(addresses)]

    def digest(self):
        """Return what is different when any of the data is."""
        return [link.ask("DEBUG", "DIGEST") for link in self._links]

    def close(self):
        for link in self._links:
            link.sock.close()
