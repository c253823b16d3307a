"""Who really sends a request: the peer, or whom the proxies that we trust name in `X-Forwarded-For`.

Each proxy appends the address that it was called from, so the field is read from the right: what trusted proxies wrote is
true, and the first address that is none of theirs is the client's. Whatever is left of that is the client's own invention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import CLIENT_ADDRESS, Middleware
from service.networks import MOST_KEPT, Networks

UNIX = "unix:"  # stands for peers on a Unix socket, which have no address
LONGEST_ADDRESS = 45  # characters: an IPv6 address that ends in an IPv4 one
MOST_PROXIES = 16  # trusted ones in a row; a longer field is none that honest proxies make


def client_address(trusted_proxies: Sequence[str]) -> Middleware:
    """Set `ledgerd.client_address`. `trusted_proxies` are networks, addresses, or UNIX.

    Raises ValueError for what is none of these.
    """
    trusted = Networks([proxy for proxy in trusted_proxies if proxy != UNIX]).include
    unix = UNIX in trusted_proxies

    def find(peer: str, forwarded: str | None) -> str:
        if forwarded is None or not (trusted(peer) if peer else unix):
            return peer
        client, rest = peer, forwarded
        for _ in range(MOST_PROXIES):
            rest, _, last = rest.rpartition(",")
            named = canonical(last.strip(" \t"))
            if named is None:
                return peer
            client = named
            if not rest or not trusted(client):
                return client
        return peer

    return _layer(find)


def peer_address(environ: WSGIEnvironment) -> str:
    """Whom the connection is from; empty for a Unix socket."""
    peer: str = environ.get("REMOTE_ADDR", "")
    return canonical(peer) or peer


@lru_cache(MOST_KEPT)
def canonical(text: str) -> str | None:
    """The one way to write an address, IPv4 where IPv6 only wraps it; None for what is none, such as one with a port."""
    if not 0 < len(text) <= LONGEST_ADDRESS or "%" in text:
        return None
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _layer(find: Callable[[str, str | None], str]) -> Middleware:
    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_client_address(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            environ[CLIENT_ADDRESS] = find(peer_address(environ), environ.get("HTTP_X_FORWARDED_FOR"))
            return app(environ, start_response)

        return with_client_address

    return layer
