"""The scenario table, run by the blocking client."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from clustercache import Cluster
from clustercache.testing import FakeCluster, FakeServer
from tests.shells.scenario_model import A_KEY, B_KEY, VALUE, Cast
from tests.shells.scenarios import SCENARIOS

ROWS = [
    pytest.param(
        row,
        id=row.rule,
        marks=pytest.mark.xfail(reason=row.known_bug, strict=True) if row.known_bug else (),
    )
    for row in SCENARIOS
]


def make(client, call):
    """Make the call; return what it ended in."""
    block = client.deadline(call.deadline) if call.deadline else contextlib.nullcontext()
    try:
        with block:
            if call.method == "pipeline":
                return piped(client, call)
            return getattr(client, call.method)(*call.args, **call.kwargs)
    except Exception as error:
        if call.raises is None:
            raise
        return error


def piped(client, call):
    with client.pipeline(**call.kwargs) as pipe:
        for words in call.args:
            pipe.execute_command(*words)
        results = pipe.execute(raise_on_error=False)
    return [type(one) if isinstance(one, Exception) else one for one in results]


def expect(call, outcome):
    if call.raises is None:
        assert outcome == call.returns
        assert type(outcome) is type(call.returns)
        return
    assert isinstance(outcome, call.raises), repr(outcome)
    shown = "\n".join([str(outcome), *getattr(outcome, "__notes__", ())])
    for part in (*call.says, call.note):
        assert part in shown
    assert VALUE not in shown
    assert f"{A_KEY!r}" not in shown
    for name, fact in call.facts.items():
        assert getattr(outcome, name) == fact


@pytest.mark.parametrize("row", ROWS)
def test_scenario(row):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | row.options
    with FakeCluster(primaries=2, replicas=1) as fake, FakeServer() as stranger:
        cast = Cast(fake, stranger)
        with Cluster.from_url(fake.url, **options) as client:
            if row.cold:
                cast.begin()
            else:
                client.get(A_KEY)
                client.get(B_KEY)
                cast.begin()
            row.script(cast)
            for call in row.calls:
                began = time.monotonic()
                outcome = make(client, call)
                took = time.monotonic() - began
                expect(call, outcome)
                assert call.at_least <= took <= call.at_most
            row.seen(cast)
    assert not [one for one in threading.enumerate() if one.name == "clustercache"]


def test_no_two_scenarios_show_the_same_rule():
    assert len({row.rule for row in SCENARIOS}) == len(SCENARIOS)
