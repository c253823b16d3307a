"""Accounts: a balance in one asset, with a floor and a ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from service.concurrency.context import Context
from service.errors import NotFound
from service.ledger.position import Written

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is stored; balances in minor units.

    `version` counts its transfers, `settings_version` the changes of its settings. A min_balance of None is no floor: such an
    account stands for the outside world. A max_balance of None is no ceiling.
    """

    id: int
    user_id: int | None
    asset: str
    balance: int
    held: int
    min_balance: int | None
    max_balance: int | None
    status: str
    version: int
    settings_version: int
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime

    @property
    def available(self) -> int:
        """What is not held."""
        return self.balance - self.held

    @property
    def etag(self) -> str:
        """What `If-Match` compares: changes whenever anything shown of the account does."""
        return f"{self.version}.{self.settings_version}"


class AccountStore(Protocol):
    """What the repository does for accounts."""

    def find_account(self, ctx: Context, ledger_id: int, account_id: int) -> Account | None: ...
    def list_accounts(
        self, ctx: Context, ledger_id: int, *, after_id: int, limit: int, user_id: int | None
    ) -> Sequence[Account]: ...
    def create_account(
        self, ctx: Context, ledger_id: int, *, user_id: int | None, asset: str,
        min_balance: int | None, max_balance: int | None, metadata: Mapping[str, Any],
    ) -> Written[Account]: ...
    def update_account(
        self, ctx: Context, ledger_id: int, account_id: int, changes: Mapping[str, Any], if_etag: str | None
    ) -> Written[Account] | None: ...


class Accounts:
    """The accounts of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    def find(self, ctx: Context, ledger_id: int, account_id: int) -> Account:
        """The account. Raises NotFound."""
        return self._found(self._store.find_account(ctx, ledger_id, account_id), account_id)

    def list(
        self, ctx: Context, ledger_id: int, *, after_id: int = 0, limit: int = 50, user_id: int | None = None
    ) -> Sequence[Account]:
        """Up to `limit` accounts with ids above `after_id`, in id order; with `user_id`, of that user only."""
        return self._store.list_accounts(ctx, ledger_id, after_id=after_id, limit=limit, user_id=user_id)

    def create(
        self, ctx: Context, ledger_id: int, *, asset: str, user_id: int | None = None,
        min_balance: int | None = 0, max_balance: int | None = None, metadata: Mapping[str, Any],
    ) -> Written[Account]:
        """Open an account with balance 0. Raises NotFound for an unknown user."""
        return self._store.create_account(
            ctx, ledger_id, user_id=user_id, asset=asset, min_balance=min_balance, max_balance=max_balance, metadata=metadata
        )

    def update(
        self, ctx: Context, ledger_id: int, account_id: int, changes: Mapping[str, Any], *, if_etag: str | None = None
    ) -> Written[Account]:
        """Change status, min_balance, max_balance or metadata; what `changes` does not name stays.

        Raises NotFound; VersionMismatch; Conflict when the balance forbids it, or the account is closed, which is for ever.
        """
        return self._found(self._store.update_account(ctx, ledger_id, account_id, changes, if_etag), account_id)

    @staticmethod
    def _found(found: T | None, account_id: int) -> T:
        if found is None:
            raise NotFound(f"No account {account_id} in this ledger.")
        return found
