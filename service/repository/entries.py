"""Entries of accounts, out of the log of transfers.

A transfer has the time at which its accounts were locked, and is seen when it is committed: a moment later, and later still on
a replica. So what an account had until a moment that has just passed may be without the last of it. Such a read waits, at the
primary, for whoever holds the account: what they post is there then, and whoever comes after them gets a later time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.entries import BalanceAt, Entry, Stretch
from service.repository.pool import PgConnection
from service.repository.queries import Queries
from service.repository.reader import Reader

T = TypeVar("T")
Read = Callable[[PgConnection, datetime | None], T]  # with the moment until which the account is known, None for now


class EntryRepository:
    """Implements `ledger.entries.EntryStore`."""

    def __init__(self, reader: Reader, queries: Queries, *, final_after_s: float) -> None:
        self._reader = reader
        self._final_after = timedelta(seconds=final_after_s)  # what is older is committed, and has come to every replica
        self._await_holders = queries.take("await_holders")
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

        def read(conn: PgConnection, _known_until: datetime | None) -> Sequence[Entry] | None:
            found = conn.cursor(row_factory=args_row(Entry)).execute(query, where, prepare=True).fetchall()
            if not found and conn.execute(self._exists, where).fetchone() is None:
                return None
            return found

        return self._read(ctx, stretch.until, where, read)

    def find_balance_at(
        self, ctx: Context, ledger_id: int, account_id: int, at: datetime
    ) -> tuple[BalanceAt, bool] | None:
        """The balance at `at`, and whether that is still to come; None when there is no such account."""
        where = {"ledger_id": ledger_id, "account_id": account_id, "at": at}

        def read(conn: PgConnection, known_until: datetime | None) -> tuple[BalanceAt, bool] | None:
            row = conn.execute(self._balance_at, {**where, "known_until": known_until}, prepare=True).fetchone()
            return None if row is None else (BalanceAt(*row[:4]), row[4])

        return self._read(ctx, at, where, read)

    def _read(self, ctx: Context, until: datetime | None, where: Mapping[str, Any], read: Read[T]) -> T:
        """`read(conn, known_until)`, which looks at the account until a moment; see the module."""
        if until is None or until < datetime.now(UTC) - self._final_after:
            return self._reader.read(ctx, lambda conn: read(conn, None))

        def read_settled(conn: PgConnection) -> T:
            row = conn.execute(self._await_holders, where, prepare=True).fetchone()
            return read(conn, None if row is None else row[0])

        return self._reader.read_primary(ctx, read_settled)
