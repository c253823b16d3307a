"""Accounts in PostgreSQL. Balances are changed by `post_transfers` alone; here are their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from service.concurrency.context import Context
from service.errors import Conflict, VersionMismatch
from service.ledger.accounts import Account
from service.ledger.position import Written
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.reader import Reader


class AccountRepository:
    """Implements `ledger.accounts.AccountStore`."""

    def __init__(self, pool: Pool, reader: Reader, queries: Queries) -> None:
        self._pool = pool
        self._reader = reader
        self._find = queries.take("find_account")
        self._lock = queries.take("lock_account")
        self._list = queries.take("list_accounts")
        self._list_of_user = queries.take("list_accounts_of_user")
        self._create = queries.take("create_account")
        self._update = queries.take("update_account")

    def find_account(self, ctx: Context, ledger_id: int, account_id: int) -> Account | None:
        """The account, or None."""
        where = {"ledger_id": ledger_id, "account_id": account_id}
        return self._reader.read(ctx, lambda conn: _accounts(conn).execute(self._find, where, prepare=True).fetchone())

    def list_accounts(
        self, ctx: Context, ledger_id: int, *, after_id: int, limit: int, user_id: int | None
    ) -> Sequence[Account]:
        """A page in id order."""
        query = self._list if user_id is None else self._list_of_user
        page = {"ledger_id": ledger_id, "after_id": after_id, "limit": limit, "user_id": user_id}
        return self._reader.read(ctx, lambda conn: _accounts(conn).execute(query, page, prepare=True).fetchall())

    def create_account(
        self, ctx: Context, ledger_id: int, *, user_id: int | None, asset: str,
        min_balance: int | None, max_balance: int | None, metadata: Mapping[str, Any],
    ) -> Written[Account]:
        """Insert an account. Raises NotFound for an unknown user, Conflict for limits that exclude a balance of 0."""
        values = {
            "ledger_id": ledger_id, "user_id": user_id, "asset": asset, "min_balance": min_balance,
            "max_balance": max_balance, "metadata": Jsonb(metadata),
        }
        with self._pool.connection(ctx, writes=True) as conn, conn.cursor(row_factory=args_row(_written)) as cursor:
            account = cursor.execute(self._create, values, prepare=True).fetchone()
        assert account is not None, "INSERT … RETURNING gives its row"
        return account

    def update_account(
        self, ctx: Context, ledger_id: int, account_id: int, changes: Mapping[str, Any], if_etag: str | None
    ) -> Written[Account] | None:
        """Change the settings that `changes` names; None when there is no such account. Raises VersionMismatch, Conflict."""
        where = {"ledger_id": ledger_id, "account_id": account_id}
        with (
            self._pool.connection(ctx, writes=True) as conn,
            conn.transaction(),
            conn.cursor(row_factory=args_row(Account)) as cursor,
        ):
            account = cursor.execute(self._lock, where).fetchone()
            if account is None:
                return None
            if if_etag is not None and if_etag != account.etag:
                raise VersionMismatch(f"The account is at version {account.etag}, not at {if_etag}.")
            if account.status == "closed":
                raise Conflict("The account is closed, which is for ever.")
            present = {name: getattr(account, name) for name in ("status", "min_balance", "max_balance", "metadata")}
            values = {**present, **changes}
            values["metadata"] = Jsonb(values["metadata"])
            return conn.cursor(row_factory=args_row(_written)).execute(self._update, {**where, **values}).fetchone()


def _accounts(conn: PgConnection) -> Cursor[Account]:
    return conn.cursor(row_factory=args_row(Account))


def _written(*values: Any) -> Written[Account]:
    return Written(Account(*values[:-1]), values[-1])
