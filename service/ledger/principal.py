"""Who sends a request: an API key that was found to be valid, and what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Principal:
    """A key in use. `scopes` are the fine ones; a None means: no account is excepted, no end, the server's own rate."""

    ledger_id: int
    key_id: str
    scopes: frozenset[str]
    debit_accounts: frozenset[int] | None = None
    expires_at: datetime | None = None
    rate_per_s: int | None = None
    burst: int | None = None

    def may(self, scope: str) -> bool:
        """Whether `scope`, a fine one, is granted."""
        return scope in self.scopes

    def may_debit(self, account_id: int) -> bool:
        """Whether it may send money from that account of its ledger."""
        return self.debit_accounts is None or account_id in self.debit_accounts

    @property
    def operates(self) -> bool:
        """Whether it may manage every ledger, and the keys of all of them."""
        return "ledgers:write" in self.scopes
