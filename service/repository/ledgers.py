"""Ledgers in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.ledgers import Ledger
from service.repository.pool import Pool
from service.repository.queries import Queries


class LedgerRepository:
    """Implements `ledger.ledgers.LedgerStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._find = queries.take("find_ledger")
        self._find_named = queries.take("find_ledger_by_name")
        self._list = queries.take("list_ledgers")
        self._create = queries.take("create_ledger")

    def find_ledger(self, ctx: Context, ledger_id: int) -> Ledger | None:
        """The ledger, or None."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Ledger)) as cursor:
            return cursor.execute(self._find, {"ledger_id": ledger_id}).fetchone()

    def find_ledger_named(self, ctx: Context, name: str) -> Ledger | None:
        """The ledger of that name, or None."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Ledger)) as cursor:
            return cursor.execute(self._find_named, {"name": name}).fetchone()

    def list_ledgers(self, ctx: Context, *, after_id: int, limit: int) -> Sequence[Ledger]:
        """A page in id order."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Ledger)) as cursor:
            return cursor.execute(self._list, {"after_id": after_id, "limit": limit}).fetchall()

    def create_ledger(self, ctx: Context, name: str) -> Ledger:
        """Insert a ledger. Raises Conflict for a taken name."""
        with self._pool.connection(ctx, writes=True) as conn, conn.cursor(row_factory=args_row(Ledger)) as cursor:
            ledger = cursor.execute(self._create, {"name": name}).fetchone()
        assert ledger is not None, "INSERT … RETURNING gives its row"
        return ledger
