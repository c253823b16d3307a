"""Who may read the metrics: the networks that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence

from service.networks import Networks


class Readers:
    """Those in `networks`, and whoever comes by a Unix socket, which is of this host."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = Networks(networks)

    def include(self, address: str) -> bool:
        """Whether the client at `address` may read; "" is a Unix socket's. What is no address may not."""
        return not address or self._networks.include(address)
