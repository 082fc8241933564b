"""Addresses: parted at the last colon, because servers write IPv6 without brackets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustercache._core.address import DEFAULT_PORT, Address, check_port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:7000", ("10.0.0.1", 7000)),
        ("node-1.example.com:6379", ("node-1.example.com", 6379)),
        ("[::1]:7000", ("::1", 7000)),
        ("::1:7000", ("::1", 7000)),
        ("2001:db8::7:7000", ("2001:db8::7", 7000)),
        ("::ffff:127.0.0.1:7000", ("::ffff:127.0.0.1", 7000)),
        ("h:1", ("h", 1)),
        ("h:65535", ("h", 65535)),
    ],
)
def test_the_last_colon_parts_host_and_port(text, address):
    assert Address.parse(text) == address


def test_an_empty_host_is_the_one_that_was_asked():
    assert Address.parse(":7001", default_host="10.0.0.9") == ("10.0.0.9", 7001)


@pytest.mark.parametrize(
    ("text", "host"), [("h", "h"), ("[::1]", "::1"), ("[2001:db8::1]", "2001:db8::1")]
)
def test_a_missing_port_is_the_default_where_there_is_one(text, host):
    assert Address.parse(text, default_port=DEFAULT_PORT) == (host, 6379)


@pytest.mark.parametrize("text", ["h", "", "h:", "h:0", "h:65536", "h:-1", "h:x", ":", "[::1]"])
def test_a_port_is_needed_and_in_range(text):
    with pytest.raises(ValueError, match="is not a number from 1 to 65535"):
        Address.parse(text)


@pytest.mark.parametrize("port", [None, "", "x", 0, -1, 65536, [], "1.5"])
def test_check_port_refuses_what_is_no_port(port):
    with pytest.raises(ValueError, match="is not a number from 1 to 65535"):
        check_port(port)


@pytest.mark.parametrize("port", [1, "7000", 65535])
def test_check_port_returns_a_number(port):
    assert check_port(port) == int(port)


def test_only_ipv6_is_written_in_brackets():
    assert str(Address("::1", 1)) == "[::1]:1"
    assert str(Address("h", 1)) == "h:1"


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z]+", fullmatch=True),
)


@given(HOSTS, st.integers(1, 65535))
def test_every_address_reads_back_with_and_without_brackets(host, port):
    address = Address(host, port)
    assert Address.parse(str(address)) == address
    assert Address.parse(f"{host}:{port}") == address
