"""Entries of accounts, out of the log of transfers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.entries import BalanceAt, Entry, Stretch
from service.repository.pool import PgConnection
from service.repository.queries import Queries
from service.repository.reader import Reader


class EntryRepository:
    """Implements `ledger.entries.EntryStore`."""

    def __init__(self, reader: Reader, queries: Queries) -> None:
        self._reader = reader
        self._balance_at = queries.take("find_balance_at")
        self._down = queries.take("list_entries")
        self._up = self._down.replace("entry.version DESC LIMIT", "entry.version LIMIT")  # the indexes are read either way
        self._exists = queries.take("account_exists")

    def list_entries(
        self, ctx: Context, ledger_id: int, account_id: int, stretch: Stretch, *, newest_first: bool, limit: int
    ) -> Sequence[Entry] | None:
        """A page; None when there is no such account, which only an empty page leaves open."""
        where = {
            "ledger_id": ledger_id, "account_id": account_id, "limit": limit,
            "after": stretch.after, "before": stretch.before, "since": stretch.since, "until": stretch.until,
            "direction": stretch.direction,
        }
        query = self._down if newest_first else self._up

        def read(conn: PgConnection) -> Sequence[Entry] | None:
            found = conn.cursor(row_factory=args_row(Entry)).execute(query, where, prepare=True).fetchall()
            if not found and conn.execute(self._exists, where).fetchone() is None:
                return None
            return found

        return self._reader.read(ctx, read)

    def find_balance_at(
        self, ctx: Context, ledger_id: int, account_id: int, at: datetime
    ) -> tuple[BalanceAt, bool] | None:
        """The balance at `at`, and whether that is still to come; None when there is no such account."""
        where = {"ledger_id": ledger_id, "account_id": account_id, "at": at}
        row = self._reader.read(ctx, lambda conn: conn.execute(self._balance_at, where, prepare=True).fetchone())
        return None if row is None else (BalanceAt(*row[:4]), row[4])
