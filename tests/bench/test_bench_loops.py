"""How contenders on a loop are driven, checked and failed. No cluster."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.bench import afloor, checks
from tests.bench.contenders import of_kind
from tests.bench.data import KEYS, VALUES
from tests.bench.loops import LoopSession
from tests.bench.works import WORKS

ADDRESS = ("127.0.0.1", 1)


class Store(dict):
    """An in-memory client whose replies take a tick of the loop."""

    tasks_inside = None

    async def get_soon(self, key):
        await asyncio.sleep(0)
        return self.get(key)

    async def set_soon(self, key, value):
        await asyncio.sleep(0)
        self[key] = value
        return True

    async def pipeline(self, keys):
        return [await self.get_soon(key) for key in keys]

    def set(self, key, value):
        self[key] = value

    @asynccontextmanager
    async def connected(self, address):
        self.tasks_inside = [asyncio.current_task()]
        yield {"get": self.get_soon, "set": self.set_soon, "pipeline": self.pipeline}
        self.tasks_inside.append(asyncio.current_task())


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def session(store):
    session = LoopSession("asyncio", store.connected, ADDRESS)
    yield session
    session.close()


@pytest.mark.parametrize(
    "work", [work for work in WORKS if work.runs_on == "asyncio"], ids=lambda work: work.name
)
def test_a_work_of_tasks_runs_its_operation(work, session, store):
    checks.CHECKS[work.needs](session.operation(work.needs, 0), store)
    assert work.run(session, work.needs, 250).right
    store.clear()
    assert work.needs == "set" or not work.run(session, work.needs, 250).right


def test_a_hundred_tasks_share_the_calls_out(session, store):
    work = next(work for work in WORKS if work.name == "aget-100")
    asked, inside, most = [], 0, 0

    async def get(key):
        nonlocal inside, most
        asked.append(key)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return VALUES[key]

    session.awaitable = {"get": get}.__getitem__
    assert work.run(session, "get", len(KEYS)).right
    assert asked == KEYS
    assert most == 100


def test_one_wrong_reply_among_a_hundred_tasks_is_seen(session):
    work = next(work for work in WORKS if work.name == "aget-100")

    async def get(key):
        await asyncio.sleep(0)
        return VALUES[key] if key != KEYS[57] else VALUES[KEYS[0]]

    session.awaitable = {"get": get}.__getitem__
    assert not work.run(session, "get", 100).right


def test_replies_given_to_the_wrong_task_are_caught(session, store):
    checks.check_at_once(session.at_once, store)

    def swapped(name, calls):
        found = session.at_once(name, calls)
        found[0], found[1] = found[1], found[0]
        return found

    with pytest.raises(checks.WrongError, match="GETs at once"):
        checks.check_at_once(swapped, store)


def test_writes_that_did_not_happen_are_caught_at_once_too(session, store):
    def lazy(name, calls):
        return session.at_once(name, calls if name == "get" else calls[:-1])

    with pytest.raises(checks.WrongError, match="SETs at once"):
        checks.check_at_once(lazy, store)


def test_the_task_that_entered_a_client_leaves_it(store):
    session = LoopSession("asyncio", store.connected, ADDRESS)
    session.run(asyncio.sleep(0))
    session.close()
    entered, left = store.tasks_inside
    assert entered is left


def test_a_client_that_cannot_connect_is_told_by_its_own_error():
    @asynccontextmanager
    async def absent(address):
        raise ImportError("No module named 'peer'")
        yield

    with pytest.raises(ImportError, match="peer"):
        LoopSession("asyncio", absent, ADDRESS)


class Node:
    """A server that answers each GET by the key, late and in pieces."""

    def __init__(self, *, closes=False):
        self.reads = []
        self.served = []
        self._closes = closes

    async def serve(self, reader, writer):
        self.served.append(asyncio.current_task())
        while data := await reader.read(65536):
            self.reads.append(data)
            if self._closes:
                break
            for key in data.split(b"\r\n")[4::5]:
                reply = b"$%d\r\n%b\r\n" % (len(key), key) if key != b"bad" else b"-ERR bad\r\n"
                for piece in (reply[:3], reply[3:]):
                    writer.write(piece)
                    await writer.drain()
        writer.close()
        await writer.wait_closed()


async def with_floor(node, do, monkeypatch):
    async with await asyncio.start_server(node.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        monkeypatch.setattr(afloor, "slot_ranges", lambda _: [[0, 16383, [host, port]]])
        floor = await afloor.AsyncFloor.connect((host, port))
        try:
            async with asyncio.timeout(20):
                return await do(floor)
        finally:
            floor.close()
            await asyncio.gather(*node.served)


def floor_run(node, do, monkeypatch):
    with asyncio.Runner() as runner:
        return runner.run(with_floor(node, do, monkeypatch))


def test_the_floor_writes_once_for_all_that_a_tick_sends(monkeypatch):
    node = Node()

    async def gets(floor):
        return await asyncio.gather(*[floor.get(key) for key in KEYS[:50]])

    assert floor_run(node, gets, monkeypatch) == [key.encode() for key in KEYS[:50]]
    assert len(node.reads) <= 2


def test_an_error_reaches_its_own_caller_on_the_floor(monkeypatch):
    async def gets(floor):
        return await asyncio.gather(
            *[floor.get(key) for key in ("a", "bad", "c")], return_exceptions=True
        )

    first, error, last = floor_run(Node(), gets, monkeypatch)
    assert (first, str(error), last) == (b"a", "ERR bad", b"c")

    async def pipeline(floor):
        return await floor.pipeline(["a", "bad", "c"])

    with pytest.raises(Exception, match="ERR bad"):
        floor_run(Node(), pipeline, monkeypatch)


@pytest.mark.parametrize("operation", ["get", "pipeline"])
def test_the_floor_on_a_loop_ends_when_its_server_does(operation, monkeypatch):
    async def ask(floor):
        return await (floor.get("a") if operation == "get" else floor.pipeline(["a", "b"]))

    with pytest.raises(ConnectionError, match="closed"):
        floor_run(Node(closes=True), ask, monkeypatch)


def test_uvloop_is_missed_by_its_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    contender = of_kind("uvloop")[0]
    assert isinstance(contender.connect, partial)
    assert "uvloop" in contender.packages
    with pytest.raises(ImportError, match="uvloop"):
        contender.connect(ADDRESS)
