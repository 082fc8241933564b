"""What the bench says, and how it takes contenders that are missing, fail or lie. No servers."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime

import pytest

from tests.bench import checks, report, worker
from tests.bench.__main__ import chosen
from tests.bench.cachings import AFAR, ANEAR, FAR, NEAR, PLAIN
from tests.bench.contenders import CONTENDERS, FLOOR, Contender, Session, of_kind
from tests.bench.data import KEYS, VALUES
from tests.bench.floor import Floor
from tests.bench.loops import LOOPS, THREADS
from tests.bench.rounds import Row, measure
from tests.bench.sites import COOKIE, FRAMEWORKS
from tests.bench.worker import answer
from tests.bench.works import WORKS

FACTS = {
    "cpu": "a CPU",
    "pinning": "none",
    "load": "0",
    "server": "a server",
    "system": "a system",
    "python": "a Python",
    "packages": {"hiredis": "1"},
}


class Store(dict):
    """An in-memory client."""

    def set(self, key, value):
        self[key] = value
        return True

    def mget(self, keys):
        return [self.get(key) for key in keys]

    def close(self):
        pass


class Scripted:
    """A contender's process that answers from a list."""

    def __init__(self, name, *answers):
        self.name = name
        self.asked = []
        self._answers = list(answers)

    def ask(self, do, work, amount):
        self.asked.append((do, amount))
        return self._answers.pop(0)


def page(rows):
    return report.page([(WORKS[0], rows)], FACTS, "command", datetime(2026, 1, 2, tzinfo=UTC))


def test_a_multiple_is_the_ratio_of_medians():
    rows = {
        "floor": Row(wall=[10.0, 20.0, 90.0], cpu=[1.0, 2.0, 9.0]),
        "clustercache": Row(wall=[30.0, 30.0, 30.0], cpu=[2.0, 3.0, 100.0]),
    }
    assert "| clustercache | 3.00 (2.00-100.0) | 1.50 | 1.00 | 30.0 (30.0-30.0) | 1.50 |" in page(
        rows
    )
    assert "2026-01-02" in page(rows)


def test_a_row_without_figures_says_why():
    rows = {"floor": Row(wall=[1.0], cpu=[1.0]), "peer": Row(kind="missing", problem="no | module")}
    assert "| peer | missing: no \\| module | | | | |" in page(rows)


def test_multiples_of_a_floor_that_failed_are_left_out():
    rows = {"floor": Row(kind="failed", problem="why"), "clustercache": Row(wall=[2.0], cpu=[1.0])}
    assert "| clustercache | 1.00 (1.00-1.00) | - | 1.00 | 2.00 (2.00-2.00) | - |" in page(rows)


def test_the_contenders_take_turns():
    order = []
    first = Scripted("a", ("ok", 5), ("ok", (2.0, 1.0)), ("ok", (4.0, 3.0)))
    second = Scripted("b", ("ok", 7), ("ok", (2.0, 1.0)), ("ok", (4.0, 3.0)))
    for process in (first, second):
        ask = process.ask
        process.ask = lambda *args, ask=ask, name=process.name: order.append(name) or ask(*args)
    rows = measure(WORKS[0], [first, second], rounds=2, seconds=0.5)
    assert order == ["a", "b"] * 3
    assert first.asked == [("calibrate", 0.5), ("round", 5), ("round", 5)]
    assert rows["b"] == Row(wall=[2.0, 4.0], cpu=[1.0, 3.0])


def test_a_contender_that_failed_gets_no_more_turns():
    process = Scripted("a", ("ok", 5), ("failed", "why"))
    row = measure(WORKS[0], [process], rounds=3, seconds=0.5)["a"]
    assert (row.kind, row.problem) == ("failed", "why")


def test_an_import_error_is_told_from_a_failure():
    def absent():
        raise ImportError("No module named 'peer'")

    assert answer(absent) == {"missing": "No module named 'peer'"}
    assert answer(int, "x")["failed"].startswith("ValueError: ")


@pytest.mark.parametrize(
    "work", [work for work in WORKS if work.runs_on == THREADS], ids=lambda work: work.name
)
def test_a_work_runs_its_operation(work):
    store = Store()
    session = Session(store, get=store.get, set=store.set, mget=store.mget, pipeline=store.mget)
    checks.CHECKS[work.needs](session.operation(work.needs, 0), store)
    assert work.run(session, work.needs, 20).right
    store.clear()
    assert work.needs == "set" or not work.run(session, work.needs, 20).right


@pytest.mark.parametrize(
    ("operation", "lie"),
    [
        ("get", lambda key: VALUES[KEYS[0]]),
        ("set", lambda key, value: True),
        ("mget", lambda keys: [VALUES[key] for key in sorted(keys)]),
        ("pipeline", lambda keys: [VALUES[key] for key in sorted(keys)]),
    ],
)
def test_an_operation_that_does_not_do_its_work_is_caught(operation, lie):
    with pytest.raises(checks.WrongError):
        checks.CHECKS[operation](lie, Store())


def test_the_floor_ends_when_its_server_does():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept_and_close():
            taken, _ = server.accept()
            taken.recv(1000)
            taken.close()

        node = threading.Thread(target=accept_and_close)
        node.start()
        with pytest.raises(ConnectionError, match="closed"):
            Floor(server.getsockname())
        node.join()


def test_every_work_has_a_check_contenders_and_a_name_of_its_own():
    assert {work.needs for work in WORKS} <= set(worker.CHECKS)
    names = [work.name for work in WORKS]
    assert len({*names, *(contender.name for contender in CONTENDERS)}) == len(names) + len(
        {contender.name for contender in CONTENDERS}
    )
    bases = {
        **dict.fromkeys((THREADS, *LOOPS, FAR, AFAR), FLOOR),
        **dict.fromkeys(FRAMEWORKS, COOKIE),
        **dict.fromkeys((NEAR, ANEAR), PLAIN),
    }
    assert {work.runs_on for work in WORKS} == {*bases}
    for runs_on, base in bases.items():
        kind = [contender.name for contender in of_kind(runs_on)]
        assert kind[:2] == [base, report.OURS]
        assert len(set(kind)) == len(kind)
    assert all(isinstance(contender, Contender) for contender in CONTENDERS)


def test_what_is_named_alone_is_measured_and_the_floors_beside_it():
    assert chosen(WORKS, ["coredis"]) == WORKS
    assert [work.name for work in chosen(WORKS, ["get", "aget-100"])] == ["get", "aget-100"]
    some = chosen(CONTENDERS, ["coredis", "get"])
    assert [contender.name for contender in of_kind(THREADS, some)] == [FLOOR]
    assert [contender.name for contender in of_kind("asyncio", some)] == [FLOOR, "coredis"]
