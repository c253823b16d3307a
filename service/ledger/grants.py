"""What a new key is given, and the one rule about it: nobody gives what he does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from service.errors import FieldError, Forbidden
from service.ledger.principal import Principal
from service.ledger.scopes import expand
from service.limits.bucket import burst_of

MOST_DEBIT_ACCOUNTS = 100
GREATEST_KEY_BURST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a key is given. Scopes may be bundles. None: no end, every account, the server's own rate."""

    scopes: tuple[str, ...]
    name: str = ""
    expires_at: datetime | None = None
    debit_accounts: tuple[int, ...] | None = None
    rate_per_s: int | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """The rate limit of a key that has none of its own; None is no limit."""

    rate_per_s: float | None = None
    burst: int | None = None

    def of(self, rate_per_s: int | None, burst: int | None) -> tuple[float | None, int | None]:
        """The rate and the burst of a key that is given these; a burst that is missing beside a rate is that of a second."""
        if burst is None:
            burst = self.burst if rate_per_s is None else burst_of(rate_per_s)
        return self.rate_per_s if rate_per_s is None else rate_per_s, burst


def check_grant(giver: Principal, grant: Grant, defaults: Defaults) -> None:
    """Raise Forbidden, which names each part of `grant` that goes beyond what `giver` holds. An operator may give anything."""
    if not giver.operates and (excesses := tuple(_excesses(giver, grant, defaults))):
        raise Forbidden("A key can only give what it holds.", fields=excesses)


def _excesses(giver: Principal, grant: Grant, defaults: Defaults) -> Iterator[FieldError]:
    if beyond := sorted(expand(grant.scopes) - giver.scopes):
        yield FieldError("scopes", f"this key does not hold {', '.join(beyond)}")
    if giver.debit_accounts is not None and not giver.debit_accounts.issuperset(grant.debit_accounts or (None,)):
        yield FieldError("debit_accounts", "expected some of the accounts that this key may debit itself")
    if giver.expires_at is not None and (grant.expires_at is None or grant.expires_at > giver.expires_at):
        yield FieldError("expires_at", f"this key itself ends at {giver.expires_at.isoformat()}")
    own, given = defaults.of(giver.rate_per_s, giver.burst), defaults.of(grant.rate_per_s, grant.burst)
    for name, most, wanted in zip(("rate_per_s", "burst"), own, given, strict=True):
        if most is not None and (wanted is None or wanted > most):
            yield FieldError(name, f"this key itself has {most:g}")
