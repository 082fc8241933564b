"""RESP over hiredis: errors are values, half a reply is neither false nor null."""

from __future__ import annotations

import pytest

from clustercache._core import wire
from clustercache._core.wire import INCOMPLETE, Push, ServerError, handshake, new_reader


def parse(data, **options):
    reader = new_reader(**options)
    reader.feed(data)
    return reader.gets()


def test_a_command_is_packed_as_an_array_of_bulk_strings():
    assert wire.pack(("SET", b"k", 7, 1.5)) == (
        b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n7\r\n$3\r\n1.5\r\n"
    )


def test_several_commands_are_one_piece():
    assert wire.pack_many([("A",), ("B", "x")]) == b"*1\r\n$1\r\nA\r\n*2\r\n$1\r\nB\r\n$1\r\nx\r\n"


@pytest.mark.parametrize("value", [None, True, [], {}])
def test_what_has_no_spelling_is_not_packed(value):
    with pytest.raises(TypeError):
        wire.pack(("SET", "k", value))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"#f\r\n", False),
        (b"#t\r\n", True),
        (b"_\r\n", None),
        (b"$-1\r\n", None),
        (b"*-1\r\n", None),
        (b"$0\r\n\r\n", b""),
        (b":0\r\n", 0),
        (b",1.5\r\n", 1.5),
        (b"+OK\r\n", b"OK"),
        (b"*2\r\n:1\r\n_\r\n", [1, None]),
        (b"%1\r\n+a\r\n:1\r\n", {b"a": 1}),
        (b"=7\r\ntxt:abc\r\n", b"abc"),
    ],
)
def test_every_whole_reply_is_told_from_half_of_one(data, value):
    reader = new_reader()
    assert reader.gets() is INCOMPLETE
    for end in range(1, len(data)):
        reader.feed(data[end - 1 : end])
        assert reader.gets() is INCOMPLETE
    reader.feed(data[-1:])
    reply = reader.gets()
    assert reply is not INCOMPLETE
    assert reply == value
    assert type(reply) is type(value)
    assert reader.gets() is INCOMPLETE


def test_a_push_is_recognised_and_an_array_is_none():
    push = parse(b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n")
    assert type(push) is Push
    assert type(parse(b"*2\r\n+a\r\n+b\r\n")) is list


def test_text_is_decoded_where_that_was_asked_for():
    assert parse(b"$2\r\n\xc3\xb6\r\n", encoding="utf-8") == "\u00f6"
    assert parse(b"$1\r\n\xf6\r\n", encoding="utf-8", errors="replace") == "\ufffd"
    assert parse(b"$1\r\n\xf6\r\n") == b"\xf6"


def test_an_error_is_a_value_with_its_code():
    error = parse(b"-MOVED 42 10.0.0.1:7000\r\n")
    assert type(error) is ServerError
    assert error.code == "MOVED"
    assert error.text == str(error) == "MOVED 42 10.0.0.1:7000"


def test_an_error_inside_an_array_is_a_value_too():
    first, second = parse(b"*2\r\n-ERR no\r\n:1\r\n")
    assert type(first) is ServerError
    assert second == 1


def test_an_error_of_one_word_has_that_code():
    assert ServerError("LOADING").code == "LOADING"


def test_the_arguments_that_a_server_quotes_are_cut_off():
    error = ServerError("ERR unknown command 'FOO', with args beginning with: 'user:7' 'secret'")
    assert str(error) == error.text == "ERR unknown command 'FOO'"
    assert "secret" not in repr(error)
    assert "secret" not in "".join(map(str, error.args))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "ERR unknown command 'FOO k3y', with args beginning with: ''",
            "ERR unknown command 'FOO'",
        ),
        ("ERR unknown subcommand 'k3y'. Try CLIENT HELP.", "ERR unknown subcommand '...'. Try"),
        ("NOGROUP No such key 'k3y' or consumer group 'k3y' in", "NOGROUP No such key '...' in"),
        ("NOGROUP No such key 'it's k3y' or consumer group 'k3y' in XREADGROUP", "'...' in XREAD"),
        ("ERR Can't execute 'subscribe': only", "ERR Can't execute '...': only"),
        ("ERR user_script:1: nonexistent global variable 'x'", "variable 'x'"),
        ("ERR Error in ACL SETUSER modifier '>k3y': Syntax error", "modifier '...': Syntax"),
        ("ERR Unknown node k3y", "ERR Unknown node"),
        ("NOPERM User app has no permissions to run the 'get' command", "run the 'get' command"),
    ],
)
def test_what_a_server_quotes_stays_out_of_its_error_but_for_names_of_commands(text, shown):
    error = ServerError(text)
    assert shown in error.text
    assert "k3y" not in error.text


def test_a_reply_that_is_not_text_is_an_error_without_its_bytes():
    error = wire.undecodable()
    assert error.code == wire.UNDECODABLE


def test_a_user_without_a_password_is_sent_all_the_same():
    assert steps(username="app")[0] == (("HELLO", 3, "AUTH", "app", ""), True)


def test_what_is_not_resp_is_a_protocol_error():
    with pytest.raises(wire.ProtocolError):
        parse(b"HTTP/1.1 400 Bad Request\r\n")


def steps(**options):
    known = {
        "protocol": 3,
        "username": None,
        "password": None,
        "client_name": None,
        "db": 0,
        "library": ("lib", "1"),
    }
    return handshake(**(known | options))


SETINFO = [
    (("CLIENT", "SETINFO", "LIB-NAME", "lib"), False),
    (("CLIENT", "SETINFO", "LIB-VER", "1"), False),
]


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, [("HELLO", 3)]),
        ({"password": "p"}, [("HELLO", 3, "AUTH", "default", "p")]),
        ({"password": "p", "username": "u"}, [("HELLO", 3, "AUTH", "u", "p")]),
        ({"password": ""}, [("HELLO", 3, "AUTH", "default", "")]),
        ({"protocol": 2}, []),
        ({"protocol": 2, "password": "p"}, [("AUTH", "p")]),
        ({"protocol": 2, "password": "p", "username": "u"}, [("AUTH", "u", "p")]),
        ({"db": 3}, [("HELLO", 3), ("SELECT", 3)]),
    ],
)
def test_the_handshake_needs_no_more_than_hello_auth_and_select(options, first):
    assert steps(**options) == [*((command, True) for command in first), *SETINFO]


def test_a_server_may_refuse_to_take_the_clients_name():
    assert (("CLIENT", "SETNAME", "shop"), False) in steps(client_name="shop")


def test_a_packed_command_can_be_read_again():
    assert wire.unpack(wire.pack(("SET", "k", 1, b"\xff\r\n"))) == [b"SET", b"k", b"1", b"\xff\r\n"]
