"""The scenario table, run by both clients; by the asyncio one in two kinds of loop."""

from __future__ import annotations

import contextlib
import time

import pytest

from clustercache.testing import FakeCluster, FakeServer
from tests.loops import uvloop
from tests.shells.scenario_losses import LOSSES
from tests.shells.scenario_model import A_KEY, B_KEY, VALUE, Cast
from tests.shells.scenario_replies import REPLIES
from tests.shells.scenarios import SCENARIOS
from tests.shells.shells import ASYNCIO, SYNC, UVLOOP

PLAYS = [
    *((SYNC, row) for row in SCENARIOS),
    *((ASYNCIO, row) for row in SCENARIOS),
    # How a connection ends, and what is read from it, is where loops differ.
    *((UVLOOP, row) for row in (*LOSSES, *REPLIES) if uvloop is not None),
]


def marks(shell, row):
    if shell.name in row.not_for:
        return pytest.mark.skip(reason=row.not_for[shell.name])
    return pytest.mark.xfail(reason=row.known_bug, strict=True) if row.known_bug else ()


async def make(shell, client, call):
    """Make the call; return what it ended in."""
    block = client.deadline(call.deadline) if call.deadline else contextlib.nullcontext()
    try:
        with block:
            if call.method == "pipeline":
                return await piped(shell, client, call)
            return await shell.settled(getattr(client, call.method)(*call.args, **call.kwargs))
    except Exception as error:
        if call.raises is None:
            raise
        return error


async def piped(shell, client, call):
    async with shell.entered(client.pipeline(**call.kwargs)) as pipe:
        for words in call.args:
            pipe.execute_command(*words)
        results = await shell.settled(pipe.execute(raise_on_error=False))
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


async def play(shell, row, fake, cast):
    options = {"deadline": 5.0, "socket_timeout": 0.3} | row.options
    async with shell.entered(shell.client.from_url(fake.url, **options)) as client:
        if not row.cold:
            await shell.settled(client.get(A_KEY))
            await shell.settled(client.get(B_KEY))
        cast.begin()
        row.script(cast)
        for call in row.calls:
            began = time.monotonic()
            outcome = await make(shell, client, call)
            took = time.monotonic() - began
            expect(call, outcome)
            assert call.at_least <= took <= call.at_most
        row.seen(cast)


@pytest.mark.parametrize(
    ("shell", "row"),
    [
        pytest.param(shell, row, id=f"{shell.name}: {row.rule}", marks=marks(shell, row))
        for shell, row in PLAYS
    ],
)
def test_scenario(shell, row):
    with FakeCluster(primaries=2, replicas=1) as fake, FakeServer() as stranger:
        shell.run(play(shell, row, fake, Cast(fake, stranger)))


def test_no_two_scenarios_show_the_same_rule():
    assert len({row.rule for row in SCENARIOS}) == len(SCENARIOS)


def test_a_scenario_that_a_shell_does_not_play_says_why():
    for row in SCENARIOS:
        assert row.not_for.keys() < {SYNC.name, ASYNCIO.name, UVLOOP.name}
        assert all(row.not_for.values())
