"""The fake server is itself tested: with redis-py, and with plain sockets where bytes count."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import redis

from clustercache.testing import (
    FakeServer,
    array,
    bulk,
    close_after_reply,
    close_before_reply,
    delay,
    error,
    integer,
    null,
    partial,
    push,
    raw,
    reply,
    reset,
    silence,
    simple,
    verbatim,
)
from tests.shells.wires import ask, client, dial, receive, request


@pytest.fixture
def node():
    with FakeServer() as server:
        yield server


@pytest.mark.parametrize(
    ("made", "resp2", "resp3"),
    [
        (reply(b"v"), b"$1\r\nv\r\n", b"$1\r\nv\r\n"),
        (reply("é"), b"$2\r\n\xc3\xa9\r\n", b"$2\r\n\xc3\xa9\r\n"),
        (reply(7), b":7\r\n", b":7\r\n"),
        (reply(None), b"$-1\r\n", b"_\r\n"),
        (reply(True), b":1\r\n", b"#t\r\n"),
        (reply(False), b":0\r\n", b"#f\r\n"),
        (reply(1.5), b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (reply([1, None]), b"*2\r\n:1\r\n$-1\r\n", b"*2\r\n:1\r\n_\r\n"),
        (reply({"a": 1}), b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        (reply({7}), b"*1\r\n:7\r\n", b"~1\r\n:7\r\n"),
        (simple("OK"), b"+OK\r\n", b"+OK\r\n"),
        (error("ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (array(1, [b"x"]), b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n"),
        (push("message", 1), b"*2\r\n$7\r\nmessage\r\n:1\r\n", b">2\r\n$7\r\nmessage\r\n:1\r\n"),
        (verbatim("hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        (raw(b"$9\r\nhalf"), b"$9\r\nhalf", b"$9\r\nhalf"),
        (integer(-1), b":-1\r\n", b":-1\r\n"),
        (null(), b"$-1\r\n", b"_\r\n"),
        (bulk(b""), b"$0\r\n\r\n", b"$0\r\n\r\n"),
    ],
)
def test_a_reply_has_a_spelling_for_each_protocol(made, resp2, resp3):
    assert (made.encode(2), made.encode(3)) == (resp2, resp3)


@pytest.mark.parametrize("make", [simple, error])
def test_a_one_line_reply_refuses_a_line_break(make):
    with pytest.raises(ValueError, match="raw"):
        make("two\r\nlines")


# Scripts


def test_it_listens_below_the_ephemeral_range(node):
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 1024 <= node.port < low
    assert node.address == f"127.0.0.1:{node.port}"
    assert node.url == f"redis://127.0.0.1:{node.port}"


def test_it_listens_on_ipv6_where_asked():
    with FakeServer(host="::1") as node:
        assert node.url == f"redis://[::1]:{node.port}"
        with dial(node) as sock:
            ask(sock, "PING", expect=b"+PONG\r\n")


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_client_connects_and_gets_canned_replies(node, protocol):
    node.on("GET", reply(b"v")).on("INCRBY", 7).on("MGET", [[b"a", None]])
    with client(node, protocol=protocol, client_name="me", password="x") as r:
        assert r.ping()
        assert r.echo("hi") == b"hi"
        assert r.get("k") == b"v"
        assert r.incr("k") == 7
        assert r.mget("a", "b") == [b"a", None]
        assert node.connections[0].protocol == protocol
        assert node.connections[0].client_name == "me"


def test_answers_come_in_order_and_the_last_repeats(node):
    node.on("GET", [error("TRYAGAIN not yet"), b"1", b"2"])
    with client(node) as r:
        with pytest.raises(redis.ResponseError, match="not yet"):
            r.get("k")
        assert [r.get("k") for _ in range(3)] == [b"1", b"2", b"2"]


def test_a_strict_script_ends_with_an_error(node):
    node.on("GET", [b"1"], strict=True)
    with client(node) as r:
        assert r.get("k") == b"1"
        with pytest.raises(redis.ResponseError, match="the script for GET has no more answers"):
            r.get("k")


def test_a_script_needs_an_answer(node):
    with pytest.raises(ValueError, match="no answers"):
        node.on("GET", [])


def test_the_pattern_with_the_most_words_answers(node):
    node.on("*", b"any").on("get", b"get").on("GET one", b"one")
    with client(node) as r:
        assert [r.get("one"), r.get("two"), r.getdel("x")] == [b"one", b"get", b"any"]
        node.off("GET one")
        assert r.get("one") == b"get"


def test_a_script_takes_precedence_over_the_handshake(node):
    node.on("HELLO", error("NOPROTO unsupported protocol version"))
    with dial(node) as sock:
        ask(sock, "HELLO", "3", expect=b"-NOPROTO unsupported protocol version\r\n")


def test_hello_without_a_script_knows_its_versions(node):
    with dial(node) as sock:
        ask(sock, "HELLO", "4", expect=b"-NOPROTO")
        assert node.connections[0].protocol == 2


def test_a_function_sees_command_and_connection(node):
    node.on("GET", lambda command, connection: [command[1], connection.id])
    with client(node) as r:
        assert r.execute_command("GET", "k") == [b"k", 1]


def test_what_a_function_raises_is_raised_at_the_end():
    def use_a_broken_script():
        with FakeServer() as node:
            node.on("GET", lambda *_: {}["oops"])
            with client(node) as r, pytest.raises(redis.ResponseError, match="raised KeyError"):
                r.get("k")

    with pytest.raises(KeyError, match="oops"):
        use_a_broken_script()


def test_an_unknown_command_is_refused_as_servers_do(node):
    with client(node) as r, pytest.raises(redis.ResponseError) as caught:
        r.execute_command("FOO", "a", "b")
    expected = "unknown command 'FOO', with args beginning with: 'a' 'b' "
    assert expected.strip() in str(caught.value)


# Actions


def test_silence_answers_nothing_more(node):
    node.on("GET", silence())
    with dial(node) as sock:
        sock.sendall(request("GET", "k") + request("PING"))
        node.wait_for(lambda: len(node.commands) == 2)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize(
    ("then", "end"),
    [("close", b""), ("hang", TimeoutError), ("reset", ConnectionResetError)],
)
def test_a_partial_reply_then(node, then, end):
    node.on("GET", partial(b"$5\r\nhel", then=then))
    with dial(node) as sock:
        sock.sendall(request("GET", "k"))
        if then != "reset":  # a reset may overtake the bytes
            assert receive(sock, 7) == b"$5\r\nhel"
        sock.settimeout(0.2)
        if end == b"":
            assert sock.recv(1) == b""
        else:
            with pytest.raises(end):
                receive(sock, 8)


def test_a_delay_holds_up_what_comes_behind_it_on_the_same_connection(node):
    node.on("GET", delay(0.15, b"late"))
    with dial(node) as slow, dial(node) as quick:
        started = time.monotonic()
        slow.sendall(request("GET", "k") + request("PING"))
        ask(quick, "PING", expect=b"+PONG\r\n")
        assert time.monotonic() - started < 0.15
        assert receive(slow, 17) == b"$4\r\nlate\r\n+PONG\r\n"
        assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize(
    ("action", "received"),
    [
        (close_before_reply(), b""),
        (close_after_reply(), b"+OK\r\n"),
        (close_after_reply(b"v"), b"$1\r\nv\r\n"),
        (delay(0.01, close_after_reply(1)), b":1\r\n"),
    ],
)
def test_it_hangs_up_when_told(node, action, received):
    node.on("GET", action)
    with dial(node) as sock:
        sock.sendall(request("GET", "k") + request("PING"))
        assert receive(sock, 100) == received
    assert node.received("GET") == [[b"GET", b"k"]]


def test_a_reset_is_seen_as_one(node):
    node.on("GET", reset())
    with dial(node) as sock:
        sock.sendall(request("GET", "k"))
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_a_reply_larger_than_the_socket_buffers_arrives_whole(node):
    node.on("GET", b"x" * 20_000_000)
    with client(node, socket_timeout=20) as r:
        assert len(r.get("k")) == 20_000_000


# What came in


def test_commands_know_their_connection_and_their_chunk(node):
    with dial(node) as one, dial(node) as two:
        one.sendall(request("PING") + request("ECHO", "x"))
        receive(one, 14)
        one.sendall(request("PING", "y"))
        receive(one, 7)
        ask(two, "PING", expect=b"+PONG\r\n")
    first, second, third, fourth = node.commands
    assert first == [b"PING"]
    assert (first.connection_id, fourth.connection_id) == (1, 2)
    assert first.chunk == second.chunk
    assert third.chunk == first.chunk + 1
    assert node.bytes_received == {
        1: [request("PING") + request("ECHO", "x"), request("PING", "y")],
        2: [request("PING")],
    }


def test_a_command_may_come_in_pieces(node):
    with dial(node) as sock:
        data = request("ECHO", "hello")
        for position in range(len(data)):
            sock.sendall(data[position : position + 1])
        assert receive(sock, 11) == b"$5\r\nhello\r\n"


def test_received_filters_by_the_first_words(node):
    with dial(node) as sock:
        sock.sendall(request("client", "setname", "a") + request("CLIENT", "ID") + request("PING"))
        receive(sock, 16)
    assert node.received("CLIENT SETNAME") == [[b"client", b"setname", b"a"]]
    assert len(node.received("CLIENT")) == 2
    assert [command.name for command in node.received("*")] == ["CLIENT", "CLIENT", "PING"]


def test_wait_for_says_what_had_arrived(node):
    with dial(node) as sock:
        ask(sock, "PING", expect=b"+PONG\r\n")
        with pytest.raises(TimeoutError, match="received so far: PING"):
            node.wait_for(lambda: False, timeout=0.02)


def test_a_condition_may_call_the_server(node):
    with dial(node) as sock:
        ask(sock, "PING", expect=b"+PONG\r\n")
        node.wait_for(lambda: node.drop_connections() or not node.connections)


@pytest.mark.parametrize("junk", [b"!what\r\n", b"+OK\r\n", b"*1\r\n:1\r\n", b"*0\r\n"])
def test_what_is_no_command_ends_the_connection(node, junk):
    with dial(node) as sock:
        sock.sendall(junk)
        assert receive(sock, 1000).startswith(b"-ERR Protocol error")


# What goes wrong


def test_dropped_connections_are_seen_by_the_client_and_gone_from_the_list(node):
    with dial(node) as sock:
        node.wait_for(lambda: node.connections)
        node.drop_connections()
        assert node.connections == []
        assert sock.recv(1) == b""
    assert len(node.all_connections) == 1


def test_dropped_connections_may_be_reset(node):
    with dial(node) as sock:
        node.wait_for(lambda: node.connections)
        node.drop_connections(reset=True)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_one_connection_can_be_dropped_and_told_something(node):
    message = push("invalidate", None).resp2
    with dial(node) as one, dial(node) as two:
        node.wait_for(lambda: len(node.connections) == 2)
        first, second = node.connections
        first.drop()
        assert node.connections == [second]
        second.send(push("invalidate", None))
        assert one.recv(1) == b""
        assert receive(two, len(message)) == message


def test_a_closed_door_refuses_and_opens_again_on_the_same_port(node):
    with dial(node) as before:
        ask(before, "PING", expect=b"+PONG\r\n")
        node.stop_accepting()
        with pytest.raises(ConnectionRefusedError), dial(node):
            pass
        ask(before, "PING", expect=b"+PONG\r\n")
    node.start_accepting()
    with dial(node) as after:
        ask(after, "PING", expect=b"+PONG\r\n")


def test_a_paused_server_accepts_nothing_and_works_it_off_later(node):
    with dial(node) as before:
        ask(before, "PING", expect=b"+PONG\r\n")
        node.pause()
        with dial(node) as during:
            for sock in (before, during):
                sock.sendall(request("PING"))
                sock.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    sock.recv(1)
            node.resume()
            for sock in (before, during):
                sock.settimeout(5)
                assert receive(sock, 7) == b"+PONG\r\n"


def test_a_paused_server_can_be_cut_off_and_closed():
    with FakeServer() as node, dial(node) as sock:
        ask(sock, "PING", expect=b"+PONG\r\n")
        node.pause()
        node.drop_connections()
        node.stop_accepting()
        node.start_accepting()
        assert sock.recv(1) == b""


def test_closing_leaves_no_thread_and_no_connection():
    threads = threading.active_count()
    with FakeServer() as node, dial(node) as sock:
        ask(sock, "PING", expect=b"+PONG\r\n")
        node.close()
        node.close()
        assert sock.recv(1) == b""
        node.drop_connections()  # nothing to do, and no deadlock
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError), dial(node):
        pass
