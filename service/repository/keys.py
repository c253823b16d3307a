"""API keys and the server's own secrets."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.keys import ApiKey
from service.repository.pool import Pool
from service.repository.queries import Queries


class KeyRepository:
    """Implements `ledger.keys.KeyStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._find = queries.take("find_keys")
        self._list = queries.take("list_keys")
        self._create_ledger = queries.take("create_ledger")
        self._create = queries.take("create_key")
        self._revoke = queries.take("revoke_key")
        self._count = queries.take("count_keys")
        self._secret = queries.take("find_secret")

    def find_keys(self, ctx: Context, key_id: str) -> Sequence[ApiKey]:
        """The keys of that id, revoked or not: one, or none."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(ApiKey)) as cursor:
            return cursor.execute(self._find, {"key_id": key_id}, prepare=True).fetchall()

    def list_keys(self, ctx: Context) -> Sequence[ApiKey]:
        """Every key, by ledger and age."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(ApiKey)) as cursor:
            return cursor.execute(self._list).fetchall()

    def create_key(
        self, ctx: Context, *, ledger: str, key_id: str, name: str, secret_hash: bytes, scopes: Sequence[str]
    ) -> bool:
        """Store a key; makes the ledger when there is none of that name, and tells whether it did."""
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            made = conn.execute(self._create_ledger, {"name": ledger}).fetchone() is not None
            key = {"ledger": ledger, "key_id": key_id, "name": name, "secret_hash": secret_hash, "scopes": list(scopes)}
            conn.execute(self._create, key)
            return made

    def revoke_key(self, ctx: Context, key_id: str) -> bool:
        """Mark the key revoked, keeping the first time; False when there is none."""
        with self._pool.connection(ctx, writes=True) as conn:
            return conn.execute(self._revoke, {"key_id": key_id}).fetchone() is not None

    def count_keys(self, ctx: Context) -> int:
        """How many keys there are in all."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._count).fetchone()
            return int(row[0]) if row else 0

    def find_secret(self, ctx: Context, name: str) -> bytes:
        """A secret that all instances on this database share. Raises LookupError."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._secret, {"name": name}).fetchone()
        if row is None:
            raise LookupError(f"no secret {name}: run `ledgerd migrate`")
        return bytes(row[0])
