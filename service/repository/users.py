"""Users in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from service.concurrency.context import Context
from service.errors import Conflict, VersionMismatch
from service.ledger.position import Written
from service.ledger.user import User
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.reader import Reader


class UserRepository:
    """Implements `ledger.user.UserStore`."""

    def __init__(self, pool: Pool, reader: Reader, queries: Queries) -> None:
        self._pool = pool
        self._reader = reader
        self._find = queries.take("find_user")
        self._find_many = queries.take("find_users")
        self._lock = queries.take("lock_user")
        self._list = queries.take("list_users")
        self._list_by_email = queries.take("list_users_by_email")
        self._create = queries.take("create_user")
        self._update = queries.take("update_user")
        self._has_open_accounts = queries.take("has_open_accounts")
        self._delete = queries.take("delete_user")

    def find_user(self, ctx: Context, ledger_id: int, user_id: int) -> User | None:
        """The user, or None, from the primary: what is kept of it must not be older than what was told of its changes."""
        where = {"ledger_id": ledger_id, "user_id": user_id}
        return self._reader.read_primary(ctx, lambda conn: _users(conn).execute(self._find, where, prepare=True).fetchone())

    def find_users(self, ctx: Context, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], User]:
        """Those that are there, by ledger and id, from the primary in one round trip."""
        where = {"ledgers": [ledger_id for ledger_id, _ in keys], "users": [user_id for _, user_id in keys]}
        rows = self._reader.read_primary(ctx, lambda conn: conn.execute(self._find_many, where, prepare=True).fetchall())
        return {(ledger_id, user[0]): User(*user) for ledger_id, *user in rows}

    def list_users(self, ctx: Context, ledger_id: int, *, after_id: int, limit: int, email: str | None) -> Sequence[User]:
        """A page in id order."""
        query = self._list if email is None else self._list_by_email
        page = {"ledger_id": ledger_id, "after_id": after_id, "limit": limit, "email": email}
        return self._reader.read(ctx, lambda conn: _users(conn).execute(query, page, prepare=True).fetchall())

    def create_user(
        self, ctx: Context, ledger_id: int, *, name: str, email: str, metadata: Mapping[str, Any]
    ) -> Written[User]:
        """Insert a user. Raises Conflict for a taken email."""
        values = {"ledger_id": ledger_id, "name": name, "email": email, "metadata": Jsonb(metadata)}
        with self._pool.connection(ctx, writes=True) as conn, conn.cursor(row_factory=args_row(_written)) as cursor:
            user = cursor.execute(self._create, values, prepare=True).fetchone()
        assert user is not None, "INSERT … RETURNING gives its row"
        return user

    def update_user(
        self, ctx: Context, ledger_id: int, user_id: int, *,
        name: str, email: str, metadata: Mapping[str, Any], if_version: int | None,
    ) -> Written[User] | None:
        """Replace the fields; None when there is no such user. Raises VersionMismatch, Conflict."""
        values = {"ledger_id": ledger_id, "user_id": user_id, "name": name, "email": email, "metadata": Jsonb(metadata)}
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            if not self._lock_at(conn, ledger_id, user_id, if_version):
                return None
            with conn.cursor(row_factory=args_row(_written)) as cursor:
                return cursor.execute(self._update, values).fetchone()

    def delete_user(self, ctx: Context, ledger_id: int, user_id: int, *, if_version: int | None) -> int | None:
        """Remove the user; the position, or None when there is no such user.

        Raises VersionMismatch, Conflict while accounts are open. The row is locked before its accounts are looked at: a new
        account needs that lock, so none can slip in between.
        """
        where = {"ledger_id": ledger_id, "user_id": user_id}
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            if not self._lock_at(conn, ledger_id, user_id, if_version):
                return None
            row = conn.execute(self._has_open_accounts, where).fetchone()
            if row and row[0]:
                raise Conflict("The user has accounts that are not closed; close them first.")
            gone = conn.execute(self._delete, where).fetchone()
            return None if gone is None else int(gone[0])

    def _lock_at(self, conn: PgConnection, ledger_id: int, user_id: int, if_version: int | None) -> bool:
        row = conn.execute(self._lock, {"ledger_id": ledger_id, "user_id": user_id}).fetchone()
        if row is not None and if_version is not None and row[0] != if_version:
            raise VersionMismatch(f"The user is at version {row[0]}, not at {if_version}.")
        return row is not None


def _users(conn: PgConnection) -> Cursor[User]:
    return conn.cursor(row_factory=args_row(User))


def _written(*values: Any) -> Written[User]:
    return Written(User(*values[:-1]), values[-1])
