"""What happens to servers and processes while near caches are in use, in about four seconds."""

from __future__ import annotations

import os
import random
import signal
from time import monotonic

from clustercache._core.slots import key_slot
from tests.faults.near_drill import calm

SECONDS = 4.0


def nothing(_):
    calm(SECONDS)


def kill(drill):
    drill.lc.kill(drill.lc.primaries[0])
    calm(SECONDS)
    drill.lc.wait_failover()


def stop(drill):
    victim = drill.lc.primaries[0]
    drill.lc.stop(victim)
    calm(SECONDS)
    drill.lc.resume(victim)
    calm(1.0)


def cut(drill):
    """Cut connections at random moments, those that are tracked among them."""
    draw, end = random.Random(3), monotonic() + SECONDS
    while monotonic() < end:
        node = draw.choice(drill.lc.primaries)
        node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        calm(draw.random() * 0.1)


def flush(drill):
    where = {key: drill.lc.node_for(key).node_id for key in drill.keys}
    end = monotonic() + SECONDS
    while monotonic() < end:
        for node in drill.lc.primaries:
            asked = monotonic()
            node.call("FLUSHALL")
            returned = monotonic()
            for key in drill.keys:
                if where[key] == node.node_id:
                    drill.history.add(key, None, asked, returned)
            calm(0.05)


def move(drill):
    """Let slots go to another primary, and come back."""
    a, b, c = drill.lc.primaries
    slots = [key_slot(key) for key in drill.shared if drill.lc.node_for(key).node_id == a.node_id]
    here, there, end = a, b, monotonic() + SECONDS
    while monotonic() < end:
        for slot in slots:
            there.call("CLUSTER", "SETSLOT", slot, "IMPORTING", here.node_id)
            here.call("CLUSTER", "SETSLOT", slot, "MIGRATING", there.node_id)
            while keys := here.call("CLUSTER", "GETKEYSINSLOT", slot, 10):
                here.call("MIGRATE", there.host, there.port, "", 0, 5000, "KEYS", *keys)
            for node in (there, here, c):
                node.call("CLUSTER", "SETSLOT", slot, "NODE", there.node_id)
        here, there = there, here
        calm(0.05)


def overflow(drill):
    """Let the tables of who tracks what hold a few keys only."""
    draw, end = random.Random(3), monotonic() + SECONDS
    while monotonic() < end:
        for node in drill.lc.primaries:
            node.call("CONFIG", "SET", "tracking-table-max-keys", draw.randint(1, 3))
        calm(0.05)
    for node in drill.lc.primaries:
        node.call("CONFIG", "SET", "tracking-table-max-keys", 1_000_000)


def pause(drill):
    """Stop a synchronous reader and an asyncio one for five seconds."""
    calm(0.5)
    stopped = [drill.processes[0].process, drill.processes[-1].process]
    for process in stopped:
        os.kill(process.pid, signal.SIGSTOP)
    calm(5.0)
    for process in stopped:
        os.kill(process.pid, signal.SIGCONT)
