"""Who may read the metrics: the networks that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def read_networks(texts: Sequence[str]) -> list[Network]:
    """The networks. Raises ValueError that names the first that is none."""
    return [ip_network(text) for text in texts]


class Readers:
    """Those in `networks`, and whoever comes by a Unix socket, which is of this host."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = read_networks(networks)

    def include(self, address: str) -> bool:
        """Whether the client at `address` may read; "" is a Unix socket's. What is no address may not."""
        if not address:
            return True
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)
