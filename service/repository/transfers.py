"""Transfers in PostgreSQL: reading the log. Writing it is `posting.py`'s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.transfers import Transfer, Wanted
from service.repository.pool import Pool
from service.repository.queries import Queries


class TransferRepository:
    """Implements `ledger.transfers.TransferStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._find = queries.take("find_transfer")
        self._list = queries.take("list_transfers")
        self._list_by_time = queries.take("list_transfers_by_time")
        self._list_by_reference = queries.take("list_transfers_by_reference")
        self._list_of_account = queries.take("list_transfers_of_account")

    def find_transfer(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None:
        """The transfer, or None."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Transfer)) as cursor:
            return cursor.execute(self._find, {"ledger_id": ledger_id, "transfer_id": transfer_id}, prepare=True).fetchone()

    def list_transfers(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int) -> Sequence[Transfer]:
        """A page, newest first, along the index that narrows it most."""
        if wanted.reference is not None:
            query = self._list_by_reference
        elif wanted.account_id is not None:
            query = self._list_of_account
        elif wanted.since is not None or wanted.until is not None:
            query = self._list_by_time
        else:
            query = self._list
        page = {"ledger_id": ledger_id, "limit": limit, **asdict(wanted)}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Transfer)) as cursor:
            return cursor.execute(query, page, prepare=True).fetchall()
