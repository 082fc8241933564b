"""The command line's sessions: what it shows of them, and which of them it ends."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from itertools import count

import pytest

from clustercache import SessionStore
from clustercache.cli.sessions import opening
from clustercache.cli.sessions.listing import COLUMNS
from clustercache.cli.sessions.reading import read
from clustercache.localcluster import LocalCluster
from clustercache.sessions import KeyRing, Msgspec
from tests.live.cli_runs import run

pytestmark = pytest.mark.live
_prefixes = (f"cli{number}" for number in count())


@pytest.fixture
def prefix():
    return next(_prefixes)


@pytest.fixture
def store(cluster, prefix):
    with SessionStore.from_url(cluster.url, prefix=prefix) as made:
        yield made


@pytest.fixture
def sessions(cluster, prefix):
    """Run a command on the sessions of this test."""

    def ran(*args, text=None):
        return run("sessions", *args, "--url", cluster.url, "--prefix", prefix, text=text)

    return ran


def told(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# list and count ------------------------------------------------------------------------------


def test_list_shows_everybody_or_one_user_the_newest_first(store, sessions):
    first = store.create(user="u1", device="Firefox", address="10.0.0.1")
    second = store.create(user="u1")
    nobody = store.create({"cart": []})
    lines = sessions("list").output.splitlines()
    assert " ".join(lines[0].split()) == " ".join(COLUMNS)
    assert {line.split()[0] for line in lines[1:4]} == {
        one.public_id for one in (first, second, nobody)
    }
    assert lines[-1] == "3 sessions; times are UTC"
    of_user = told(sessions("list", "--user", "u1", "--json"))
    assert {one["public_id"] for one in of_user} == {first.public_id, second.public_id}
    created = [datetime.fromisoformat(one["created"]) for one in of_user]
    assert created == sorted(created, reverse=True)
    everybody = {one["public_id"]: one for one in told(sessions("list", "--json"))}
    shown = everybody[first.public_id]
    assert (shown["user"], shown["device"], shown["address"]) == ("u1", "Firefox", "10.0.0.1")
    assert everybody[nobody.public_id]["user"] is None
    lifetime = datetime.fromisoformat(shown["expires"]) - datetime.fromisoformat(shown["created"])
    assert lifetime == timedelta(seconds=store.settings.lifetime)


def test_the_newest_of_everybody_comes_first(store, sessions):
    made = [store.create({"a": 1})]
    while store.load(made[-1].token).created == store.load(made[0].token).created:
        made.append(store.create({"a": 1}))
    shown = [one["public_id"] for one in told(sessions("list", "--json"))]
    assert shown[0] == made[-1].public_id
    assert set(shown) == {one.public_id for one in made}


def test_nothing_to_list_is_no_failure(sessions):
    result = sessions("list")
    assert (result.exit_code, result.output) == (0, "0 sessions; times are UTC\n")
    assert told(sessions("list", "--json", "--user", "nobody")) == []


def test_what_a_user_chose_cannot_drive_the_terminal(store, sessions):
    evil = store.create({"\x1b[2J": "\x1b[31m"}, user="u\x1b]0;x\x07", device="\x1b[1mBold\u202e")
    for args in (["list"], ["show", evil.public_id, "--values"]):
        output = sessions(*args).output
        assert not {"\x1b", "\x07", "\u202e"} & set(output)
        assert "\\x1b[1mBold\\u202e" in output


def test_count_counts_the_users_or_all(store, sessions):
    for user in ("u1", "u1", "u2"):
        store.create(user=user)
    assert sessions("count").output == "3 sessions\n"
    assert sessions("count", "--user", "u2").output == "1 session\n"
    assert told(sessions("count", "--json", "--user", "u1")) == {"count": 2}


def test_another_prefix_is_another_store(store, sessions, cluster):
    store.create(user="u1")
    ran = run("sessions", "count", "--url", cluster.url, "--prefix", f"{store.settings.prefix}x")
    assert ran.output == "0 sessions\n"


# show ----------------------------------------------------------------------------------------


def test_show_tells_names_and_sizes_and_values_only_on_request(store, sessions):
    one = store.create({"cart": ["apple"], "tags": {"b", "a"}}, user="u1", device="Firefox")
    output = sessions("show", one.public_id).output
    assert "device     Firefox\n" in output
    assert "or after 1800 s without use" in output
    assert "cart" in output
    assert "apple" not in output
    assert "apple" not in sessions("show", one.public_id, "--json").output
    assert '["apple"]' in sessions("show", one.public_id, "--values").output
    fields = told(sessions("show", one.public_id, "--values", "--json"))["fields"]
    assert fields["cart"] == {"encoding": "json", "size": 9, "value": ["apple"]}
    assert fields["tags"]["value"] == {"!s": ["a", "b"]}


def test_no_token_is_shown(store, sessions):
    one = store.create({"a": 1}, user="u1")
    selector, _, verifier = one.token.partition(".")
    for args in (["list"], ["list", "--json"], ["show", one.public_id, "--values", "--json"]):
        output = sessions(*args).output
        assert one.public_id in output
        assert (selector in output, verifier in output) == (False, False)


def test_a_session_of_nobody_without_fields_is_shown(store, sessions):
    one = store.create()
    output = sessions("show", one.public_id, "--values").output
    assert "user       -\n" in output
    assert output.endswith("fields     0; times are UTC\n")
    assert told(sessions("show", one.public_id, "--json"))["auth_time"] is None


def test_the_user_narrows_the_search(store, sessions):
    one = store.create(user="u1")
    assert sessions("show", one.public_id, "--user", "u1").exit_code == 0
    other = sessions("show", one.public_id, "--user", "u2")
    assert other.exit_code == 1
    assert f"no session of the user u2 has the public id {one.public_id}" in other.output


def test_what_is_encrypted_is_shown_as_that(cluster, prefix, sessions):
    ring = KeyRing({"k": secrets.token_bytes(32)})
    with SessionStore.from_url(cluster.url, prefix=prefix, keys=ring) as sealed:
        one = sealed.create({"pin": "4711"}, user="u1", device="Firefox")
    (listed,) = told(sessions("list", "--json"))
    assert (listed["user"], listed["device"]) == ("u1", "(encrypted)")
    output = sessions("show", one.public_id, "--values").output
    assert output.splitlines()[-1].split()[::2] == ["pin", "(encrypted)"]
    field = told(sessions("show", one.public_id, "--values", "--json"))["fields"]["pin"]
    assert (field["encoding"], field["value"]) == ("encrypted", None)


def test_messagepack_is_read_where_msgspec_is_there(cluster, prefix, sessions):
    pytest.importorskip("msgspec")
    with SessionStore.from_url(cluster.url, prefix=prefix, serializer=Msgspec()) as packed:
        one = packed.create({"cart": ["apple", b"\x00"]}, user="u1", device="Firefox")
    shown = told(sessions("show", one.public_id, "--values", "--json"))
    assert shown["device"] == "Firefox"
    assert shown["fields"]["cart"]["encoding"] == "msgpack"
    assert shown["fields"]["cart"]["value"] == ["apple", "AA=="]


@pytest.mark.parametrize("stored", [b"\xff\xff", b"{", b"\x81\x01", b""])
def test_what_nobody_can_read_is_unknown(stored, monkeypatch):
    monkeypatch.setattr("clustercache.cli.sessions.reading.find_spec", lambda _: None)
    assert read(stored) == ("unknown", len(stored), None)


# revoke --------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["u1", None])
@pytest.mark.parametrize("narrowed", [True, False])
def test_revoke_ends_the_one_that_is_named(store, sessions, user, narrowed):
    one, other = (store.create({"a": 1}, user=user) for _ in range(2))
    search = ["--user", user] if narrowed and user else []
    result = sessions("revoke", one.public_id, *search, "--yes")
    assert (result.exit_code, result.output) == (0, "ended 1 session\n")
    assert store.load(one.token) is None
    assert store.load(other.token) is not None
    again = sessions("revoke", one.public_id, *search, "--yes")
    assert (again.exit_code, "no session" in again.output) == (1, True)


def test_one_that_the_index_lost_is_ended_too(store, sessions):
    one = store.create({"a": 1}, user="u1")
    store.client.unlink(f"{store.settings.prefix}:u:u1")
    assert sessions("revoke", one.public_id, "--yes").output == "ended 1 session\n"
    assert store.load(one.token) is None


@pytest.mark.parametrize("words", [["--user", "u1"], ["--user", "u1", "--all"]])
def test_revoke_ends_all_of_a_user(store, sessions, words):
    mine = [store.create(user="u1") for _ in range(2)]
    other = store.create(user="u2")
    assert told(sessions("revoke", *words, "--yes", "--json")) == {"ended": 2}
    assert [store.load(one.token) for one in mine] == [None, None]
    assert store.load(other.token) is not None


def test_revoke_ends_everybodys(store, sessions):
    tokens = [store.create({"a": 1}, user=user).token for user in ("u1", "u2", None)]
    assert sessions("revoke", "--everybody", "--yes").output == "ended 3 sessions\n"
    assert [store.load(token) for token in tokens] == [None] * 3


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["PUBLIC"], "End the session PUBLIC of u1?"),
        (["--user", "u1"], "End 1 session of u1?"),
        (["--everybody"], "End 2 sessions, of everybody?"),
    ],
)
def test_revoke_asks_first_and_a_no_ends_nothing(store, sessions, words, question):
    one, other = store.create(user="u1"), store.create({"a": 1})
    words = [word.replace("PUBLIC", one.public_id) for word in words]
    declined = sessions("revoke", *words, text="n\n")
    assert declined.exit_code == 1
    assert question.replace("PUBLIC", one.public_id) in declined.output
    assert "not confirmed; no session was ended" in declined.output
    assert store.load(one.token) is not None
    asked = sessions("revoke", *words, "--json", text="y\n")
    assert told(asked)["ended"] == 1 + (words == ["--everybody"])
    assert "End " not in asked.stdout
    assert store.load(one.token) is None
    assert (store.load(other.token) is None) == (words == ["--everybody"])


# Usage and trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["list"], "which cluster? Give --url, or set CLUSTERCACHE_URL"),
        (["show", "--url", "redis://h"], "Missing argument 'PUBLIC_ID'"),
        (["revoke", "--url", "redis://h"], "which sessions?"),
        (["revoke", "x", "--everybody"], "--everybody goes with no PUBLIC_ID"),
        (["revoke", "--user", "u", "--everybody"], "no --user"),
        (["revoke", "--everybody", "--all"], "no --all"),
        (["revoke", "--all"], "--all goes with --user"),
        (["revoke", "x", "--user", "u", "--all"], "and with no PUBLIC_ID"),
        (["count", "--url", "redis://h", "--prefix", "{a}"], "without a hash tag"),
        (["count", "--url", "memory://"], "unknown URL scheme 'memory'"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(args, message):
    result = run("sessions", *args)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("args", [["list"], ["count"], ["show", "x"], ["revoke", "x", "--yes"]])
def test_a_node_that_does_not_answer_is_one_line_and_1(args):
    result = run("sessions", *args, CLUSTERCACHE_URL="redis://127.0.0.1:1")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith("Error: ")


def test_one_server_serves_as_well():
    with LocalCluster.standalone() as alone:
        with SessionStore.from_url(alone.url) as own:
            one = own.create({"a": 1}, user="u1")
        assert run("sessions", "count", "--url", alone.url).output == "1 session\n"
        assert run("sessions", "show", one.public_id, "--url", alone.url).exit_code == 0


def test_a_long_search_tells_how_far_it_is(store, monkeypatch):
    tellings = []

    class Line:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, text):
            tellings.append(text)

    monkeypatch.setattr(opening, "_LOT", 2)
    monkeypatch.setattr(opening.output, "status", lambda _, text: tellings.append(text) or Line())
    sought = [store.create({"a": 1}) for _ in range(4)][-1]
    with pytest.raises(opening.click.ClickException):
        opening.find(store.client, store, "absent", None)
    assert tellings[0] == "looking through the sessions ..."
    assert tellings[1:] == [f"looking through the sessions ... {n}" for n in (2, 4)]
    assert opening.find(store.client, store, sought.public_id, None).selector == sought.selector
