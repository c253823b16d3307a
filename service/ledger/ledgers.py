"""Ledgers: the tenants. Each holds its own users, accounts, transfers and keys; nothing of two ledgers ever meets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.concurrency.context import Context
from service.errors import NotFound

LEDGER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
LEDGER_NAME_SHAPE = "1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as it is stored."""

    id: int
    name: str
    created_at: datetime


class LedgerStore(Protocol):
    """What the repository does for ledgers."""

    def find_ledger(self, ctx: Context, ledger_id: int) -> Ledger | None: ...
    def list_ledgers(self, ctx: Context, *, after_id: int, limit: int) -> Sequence[Ledger]: ...
    def create_ledger(self, ctx: Context, name: str) -> Ledger: ...


class Ledgers:
    """The ledgers of the database."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store

    def find(self, ctx: Context, ledger_id: int) -> Ledger:
        """The ledger. Raises NotFound."""
        ledger = self._store.find_ledger(ctx, ledger_id)
        if ledger is None:
            raise NotFound(f"No ledger {ledger_id}.")
        return ledger

    def list(self, ctx: Context, *, after_id: int = 0, limit: int = 50) -> Sequence[Ledger]:
        """Up to `limit` ledgers with ids above `after_id`, in id order."""
        return self._store.list_ledgers(ctx, after_id=after_id, limit=limit)

    def create(self, ctx: Context, name: str) -> Ledger:
        """Make a ledger; `name` is as LEDGER_NAME has it. Raises Conflict when it is taken."""
        return self._store.create_ledger(ctx, name)
