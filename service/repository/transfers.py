"""Transfers in PostgreSQL: reading the log. Writing it is `posting.py`'s."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict

from psycopg import Cursor
from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.transfers import PostRequest, Transfer, Wanted
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.reader import Reader

WAYS = ("", "_by_reference", "_of_account", "_by_time")  # the queries there are, by the index that narrows most


class TransferRepository:
    """Implements `ledger.transfers.TransferStore` and `ledger.expiry.ExpiryStore`."""

    def __init__(self, pool: Pool, reader: Reader, queries: Queries) -> None:
        self._pool = pool
        self._reader = reader
        self._find = queries.take("find_transfer")
        self._expired = queries.take("list_expired_holds")
        self._lists = {way: queries.take(f"list_transfers{way}") for way in WAYS}
        self._exports = {way: queries.take(f"export_transfers{way}") for way in WAYS}

    def find_transfer(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None:
        """The transfer, or None."""
        where = {"ledger_id": ledger_id, "transfer_id": transfer_id}
        return self._reader.read(ctx, lambda conn: _transfers(conn).execute(self._find, where, prepare=True).fetchone())

    def find_original(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None:
        """The same from the primary: a replica may not have heard of it, nor of what was done to it."""
        with self._pool.connection(ctx) as conn:
            where = {"ledger_id": ledger_id, "transfer_id": transfer_id}
            return _transfers(conn).execute(self._find, where, prepare=True).fetchone()

    def find_expired(self, ctx: Context, limit: int) -> Sequence[PostRequest]:
        """Requests to give back the holds that have expired, by the database's clock; from the primary."""
        with self._pool.connection(ctx) as conn:
            rows = conn.execute(self._expired, {"limit": limit}, prepare=True).fetchall()
        return [
            PostRequest(
                ledger_id=ledger_id, from_account_id=source, to_account_id=target, amount=amount, kind="expiry",
                resolves_id=hold_id,
            )
            for ledger_id, hold_id, source, target, amount in rows
        ]

    def list_transfers(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int) -> Sequence[Transfer]:
        """A page, newest first, along the index that narrows it most."""
        query = self._lists[_way(wanted)]
        page = {"ledger_id": ledger_id, "limit": limit, **asdict(wanted)}
        return self._reader.read(ctx, lambda conn: _transfers(conn).execute(query, page, prepare=True).fetchall())

    def export_transfers(
        self, ctx: Context, ledger_id: int, wanted: Wanted, *, batch: int
    ) -> Generator[Sequence[Transfer], None, None]:
        """All that are wanted, oldest first, by a cursor at the primary, which shows the ledger as it is at the beginning.

        Whoever takes them may be slow: the session may be idle for as long as `ctx` lasts.
        """
        with self._pool.connection(ctx) as conn, conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            milliseconds = int(1000 * (ctx.remaining() or 0))
            conn.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(milliseconds)])
            with conn.cursor("export", row_factory=args_row(Transfer)) as cursor:
                cursor.execute(self._exports[_way(wanted)], {"ledger_id": ledger_id, **asdict(wanted)})
                while rows := cursor.fetchmany(batch):
                    yield rows


def _transfers(conn: PgConnection) -> Cursor[Transfer]:
    return conn.cursor(row_factory=args_row(Transfer))


def _way(wanted: Wanted) -> str:
    if wanted.reference is not None:
        return "_by_reference"
    if wanted.account_id is not None:
        return "_of_account"
    return "" if wanted.since is None and wanted.until is None else "_by_time"
