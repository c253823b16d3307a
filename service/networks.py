"""Networks that the configuration names, and whether an address is in one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

MOST_KEPT = 4096  # addresses that are read once and remembered


class Networks:
    """Raises ValueError for a text that is no network."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._networks = [ip_network(text) for text in texts]
        self.include = lru_cache(MOST_KEPT)(self._include)

    def _include(self, address: str) -> bool:
        """Whether `address` is in one of them, IPv4 in IPv6's clothes too; what is no address is in none."""
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)


def is_network(text: str) -> bool:
    """Whether it is an address or a network, of either version of IP."""
    try:
        ip_network(text)
    except ValueError:  # no address, or one with bits beside its prefix
        return False
    return True
