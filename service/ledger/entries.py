"""What an account went through: its entries, one for each transfer from or to it, and its balance at any time.

An account's entries are numbered from 1 without a gap (the number is the account's version after it), and their times never go
back, so a stretch of time is a stretch of numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from service.concurrency.context import Context
from service.errors import FieldError, InvalidInput, NotFound
from service.ledger.money import GREATEST_ID

Direction = Literal["debit", "credit"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the log as one of its accounts sees it; `balance` and `held` are the account's right after it, in minor units.

    Of what `kind` says that only something was set aside or given back, `amount` is that, and the balance is as it was.
    """

    version: int
    transfer_id: int
    direction: Direction
    amount: int
    balance: int
    other_account_id: int
    asset: str
    reference: str | None
    metadata: Mapping[str, Any]
    created_at: datetime
    kind: str
    held: int


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """An account's balance at a moment, what of it was held, and the version of its last entry until then; 0 before the first.
    """

    asset: str
    version: int
    balance: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Which entries of an account: numbered between `after` and `before`, excluded both; from `since` on, before `until`."""

    after: int = 0
    before: int = GREATEST_ID
    since: datetime | None = None
    until: datetime | None = None
    direction: Direction | None = None


class EntryStore(Protocol):
    """What the repository does for entries."""

    def list_entries(
        self, ctx: Context, ledger_id: int, account_id: int, stretch: Stretch, *, newest_first: bool, limit: int
    ) -> Sequence[Entry] | None: ...
    def find_balance_at(
        self, ctx: Context, ledger_id: int, account_id: int, at: datetime
    ) -> tuple[BalanceAt, bool] | None: ...


class Entries:
    """The entries of all accounts; every call names the ledger it is about."""

    def __init__(self, store: EntryStore) -> None:
        self._store = store

    def list(
        self, ctx: Context, ledger_id: int, account_id: int, stretch: Stretch, *, newest_first: bool = True, limit: int = 50
    ) -> Sequence[Entry]:
        """Up to `limit` entries of `stretch`, from its end or from its beginning. Raises NotFound for an unknown account."""
        found = self._store.list_entries(ctx, ledger_id, account_id, stretch, newest_first=newest_first, limit=limit)
        if found is None:
            raise _no_account(account_id)
        return found

    def balance_at(self, ctx: Context, ledger_id: int, account_id: int, at: datetime) -> BalanceAt:
        """What the account held at `at`, which has a zone; 0 before it was opened.

        Raises NotFound, and InvalidInput for a moment that is still to come by the clock of the database.
        """
        found = self._store.find_balance_at(ctx, ledger_id, account_id, at)
        if found is None:
            raise _no_account(account_id)
        balance, is_to_come = found
        if is_to_come:
            message = "is still to come: nobody knows that balance yet; leave `at` out for the present one"
            raise InvalidInput(f"at: {message}.", fields=(FieldError("at", message),))
        return balance


def _no_account(account_id: int) -> NotFound:
    return NotFound(f"No account {account_id} in this ledger.")
