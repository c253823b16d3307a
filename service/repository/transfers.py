"""Transfers in PostgreSQL: reading the log. Writing it is `posting.py`'s."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.transfers import Transfer
from service.repository.pool import Pool
from service.repository.queries import Queries


class TransferRepository:
    """Implements `ledger.transfers.TransferStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._find = queries.take("find_transfer")
        self._list = queries.take("list_transfers")
        self._list_of_account = queries.take("list_account_transfers")

    def find_transfer(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None:
        """The transfer, or None."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Transfer)) as cursor:
            return cursor.execute(self._find, {"ledger_id": ledger_id, "transfer_id": transfer_id}, prepare=True).fetchone()

    def list_transfers(self, ctx: Context, ledger_id: int, *, before_id: int, limit: int) -> Sequence[Transfer]:
        """A page, newest first."""
        page = {"ledger_id": ledger_id, "before_id": before_id, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Transfer)) as cursor:
            return cursor.execute(self._list, page, prepare=True).fetchall()

    def list_account_transfers(
        self, ctx: Context, ledger_id: int, account_id: int, *, before_version: int, limit: int
    ) -> Sequence[Transfer]:
        """A page of one account's transfers, newest first."""
        page = {"ledger_id": ledger_id, "account_id": account_id, "before_version": before_version, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Transfer)) as cursor:
            return cursor.execute(self._list_of_account, page, prepare=True).fetchall()
