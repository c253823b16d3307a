"""Who has which bucket: each API key its own, and each client address one for what it sends without a valid key."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from service.limits.bucket import MOST_RATE_PER_S, Limit, burst_of
from service.limits.table import Table

IPV6_PREFIX = 64  # what one customer has at least; the rest of the address is theirs to choose
MOST_KEPT = 4096


class Limiter:
    """`key_limit` is for keys without a limit of their own, `address_limit` for each use of an address."""

    def __init__(self, table: Table, *, key_limit: Limit, address_limit: Limit) -> None:
        self._table = table
        self._key_limit = key_limit
        self._address_limit = address_limit
        self._own = lru_cache(MOST_KEPT)(self._make_own)

    def take_key(self, key_id: str, rate_per_s: float | None, burst: int | None) -> tuple[Limit, bool, int]:
        """Take a token of a key: its limit, whether there was a token, and the nanoseconds until its bucket is full.

        `rate_per_s` and `burst` are the key's own. Without a rate it has the default's; a burst that is missing beside a rate
        is what flows in within a second.
        """
        limit = self._key_limit if rate_per_s is None and burst is None else self._own(rate_per_s, burst)
        return limit, *self._table.take("key:" + key_id, limit)

    def take_address(self, use: str, address: str) -> tuple[Limit, bool, int]:
        """Take a token of `address`, an IPv6 one counted with its whole /64 network; one bucket for each `use`."""
        return self._address_limit, *self._table.take(use + ":" + _counted(address), self._address_limit)

    def give_back_address(self, use: str, address: str) -> None:
        """Put back what `take_address` took a moment ago."""
        self._table.give_back(use + ":" + _counted(address), self._address_limit)

    @property
    def unlocked(self) -> int:
        """How many decisions this process has made without the lock, since another kept it; see Table."""
        return self._table.unlocked

    def close(self) -> None:
        """Let go of the table; nothing may be taken any more."""
        self._table.close()

    def _make_own(self, rate_per_s: float | None, burst: int | None) -> Limit:
        rate = self._key_limit.rate_per_s if rate_per_s is None else min(rate_per_s, MOST_RATE_PER_S)
        return Limit(rate, burst_of(rate) if burst is None else burst)


@lru_cache(MOST_KEPT)
def _counted(address: str) -> str:
    try:
        read = ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    return str(ip_network((int(read), IPV6_PREFIX), strict=False)) if isinstance(read, IPv6Address) else address
