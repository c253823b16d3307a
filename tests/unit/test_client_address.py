"""Who a client is: nobody is believed about it but the proxies that are trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.middleware.client_address import canonical, client_address
from service.middleware.environ import CLIENT_ADDRESS

PROXIES = ["10.0.0.0/8", "::1", "2001:db8:1::/48"]


def find(peer: str, forwarded: str | None, *trusted: str) -> str:
    """Who the client is taken for."""
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ[CLIENT_ADDRESS])
        return []

    environ = {"REMOTE_ADDR": peer} | ({} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded})
    client_address(trusted)(app)(environ, lambda *_: lambda _: None)
    return seen[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.9, 192.0.2.7", "192.0.2.7"),  # what the client wrote itself is on the left
        ("10.0.0.1", "192.0.2.7,10.2.3.4,\t10.0.0.2", "192.0.2.7"),
        ("::1", "2001:DB8:2:0::7, 2001:db8:1::5", "2001:db8:2::7"),
        ("10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:10.0.0.1", "192.0.2.7", "192.0.2.7"),  # IPv4 on a socket for both
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # all of ours: the one that began
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),  # not trusted, so not believed
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),
        ("", "192.0.2.7", ""),  # a Unix socket is not trusted for being one
    ],
)
def test_the_first_untrusted_address_from_the_right_is_the_client(peer: str, forwarded: str | None, client: str) -> None:
    """Behind trusted peers; others are the client themselves."""
    assert find(peer, forwarded, *PROXIES) == client


@pytest.mark.parametrize(
    "garbage",
    ["", ",", "unknown", "_hidden", "192.0.2.7:1234", "[2001:db8::1]", "[2001:db8::1]:80", "192.0.2.7,", "192.0.2", "1" * 4000,
     "fe80::1%eth0", "192.0.2.07", "192.0.2.7;10.0.0.1", "٣.0.0.1", "192.0.2.7, x, 10.0.0.2", ", ".join(["10.0.0.2"] * 2000)],
)
def test_garbage_is_the_peers_own(garbage: str) -> None:
    """What no proxy writes that should be trusted counts for the proxy that passed it on."""
    assert find("10.0.0.1", garbage, *PROXIES) == "10.0.0.1"


def test_without_trusted_proxies_nobody_is_believed() -> None:
    """Not even this machine."""
    assert find("127.0.0.1", "192.0.2.7") == "127.0.0.1"


def test_a_unix_socket_can_be_trusted() -> None:
    """By a word of its own, since it has no address."""
    assert find("", "192.0.2.7", "unix:") == "192.0.2.7"
    assert find("10.0.0.1", "192.0.2.7", "unix:") == "10.0.0.1"


@given(st.text(max_size=60), st.ip_addresses().map(str).map(canonical).filter(lambda client: not trusted(client)))
def test_whatever_a_client_sends_is_left_of_the_truth(sent: str, client: str) -> None:
    """A proxy appends whom it was called from, and that is who it was."""
    assert find("10.0.0.1", f"{sent}, {client}", *PROXIES) == client


def trusted(client: str | None) -> bool:
    """Whether a peer of that address is believed."""
    return find(client or "", "192.0.2.7", *PROXIES) == "192.0.2.7" != client


def test_what_is_no_network_is_refused() -> None:
    """When the middleware is made, and not at the first request."""
    with pytest.raises(ValueError, match="host bits"):
        client_address(["10.0.0.1/8"])
