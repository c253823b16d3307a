"""Addresses of instances: what is one, and what only looks like one."""

from __future__ import annotations

from ipaddress import IPv6Address
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client.instances import base_url
from service.events.address import ADDRESS


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.5:8080", "http://10.0.0.5:8080"),
        ("[::1]:80", "http://[::1]:80"),
        ("[::ffff:10.0.0.1]:65535", "http://[::ffff:10.0.0.1]:65535"),
        ("mail-1.example.com:1", "http://mail-1.example.com:1"),
        ("localhost:8080", "http://localhost:8080"),
        ("http://mail", "http://mail"),
        ("https://mail.example.com:8443/", "https://mail.example.com:8443"),
        ("https://mail.example.com/a%20b/c", "https://mail.example.com/a%20b/c"),
    ],
)
def test_an_address_is_where_requests_begin(address: str, url: str) -> None:
    """HOST:PORT is plain HTTP; a URL is itself."""
    assert ADDRESS.fullmatch(address)
    assert base_url(address) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "host", "host:", ":80", "host:0", "host:65536", "host:080", "host:80 ", "host:80\n", "host:80/path",
        "1.2.3.999:80", "256.1.1.1:1", "1.2.3:80", "::1:80", "[::1]", "[1::2::3]:80", "[:::]:80", "[12345::]:80",
        "-a:80", "a-:80",
        "a..b:80", "a_b:80", "user@host:80", "http://", "http://user@host", "http://host?q=1",
        "http://host/#f", "http://host/a b",
        "http://host/%2", "http://host:0", "HTTP://host", "ftp://host", "service://mail", "https://hóst", "http://host\\a",
        "a" * 64 + ":80",
    ],
)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    """No user, query or fragment, no port out of range, no broken IP address."""
    assert ADDRESS.fullmatch(text) is None


_PARTS = st.lists(st.sampled_from(["1", ":", "::", "ab", "f00d:", "1.2.3.4", "0:0:0:", "g"]), min_size=1, max_size=10)


@given(_PARTS)
def test_ipv6_is_what_the_standard_library_takes_for_it(parts: list[str]) -> None:
    """The expression and `ipaddress` agree."""
    text = "".join(parts)
    try:
        IPv6Address(text)
    except ValueError:
        assert ADDRESS.fullmatch(f"[{text}]:80") is None
    else:
        assert ADDRESS.fullmatch(f"[{text}]:80")


@given(st.from_regex(ADDRESS, fullmatch=True))
def test_every_address_is_read_as_a_url_with_a_host_and_nothing_else(address: str) -> None:
    """Whatever the expression takes, the host and the port come out of it again, and no user, query or fragment."""
    parts = urlsplit(base_url(address))
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.port is None or 1 <= parts.port <= 65535
    assert (parts.username, parts.query, parts.fragment) == (None, "", "")
