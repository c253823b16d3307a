"""API keys and the server's own secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.errors import FieldError, NotFound
from service.ledger.authenticator import Credential
from service.ledger.grants import Grant
from service.ledger.key_uses import KeyUse
from service.ledger.keys import ApiKey, Token
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries


class KeyRepository:
    """Implements `KeyStore`, `CredentialStore` and `KeyUseStore` of the ledger."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._find_credentials = queries.take("find_credentials")
        self._find = queries.take("find_key")
        self._list = queries.take("list_keys")
        self._list_all = queries.take("list_all_keys")
        self._make_ledger = queries.take("make_ledger")
        self._find_ledger = queries.take("find_ledger_by_name")
        self._find_missing_accounts = queries.take("find_missing_accounts")
        self._create = queries.take("create_key")
        self._replace = queries.take("replace_key")
        self._revoke = queries.take("revoke_key")
        self._note_uses = queries.take("note_key_uses")
        self._time = queries.take("find_time")
        self._secret = queries.take("find_secret")

    def find_credentials(self, ctx: Context, key_id: str) -> Sequence[Credential]:
        """What there is to check a token of that id against: one row, also when no key has it."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Credential)) as cursor:
            return cursor.execute(self._find_credentials, {"key_id": key_id}, prepare=True).fetchall()

    def find_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> ApiKey | None:
        """The key, or None where the ledger (or, for None, any) has none of that id."""
        with self._pool.connection(ctx) as conn:
            return self._key(conn, key_id, ledger_id)

    def list_keys(self, ctx: Context, ledger: int | str, *, after: int, limit: int) -> Sequence[ApiKey]:
        """A page of a ledger's keys in the order of making. Raises NotFound for an unknown name."""
        with self._pool.connection(ctx) as conn:
            page = {"ledger_id": self._ledger_id(conn, ledger), "after": after, "limit": limit}
            with conn.cursor(row_factory=args_row(ApiKey)) as cursor:
                return cursor.execute(self._list, page).fetchall()

    def list_all_keys(self, ctx: Context, ledger: str | None) -> Sequence[ApiKey]:
        """Every key, or every one of a ledger, by ledger and in the order of making. Raises NotFound for an unknown name."""
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(ApiKey)) as cursor:
            ledger_id = None if ledger is None else self._ledger_id(conn, ledger)
            return cursor.execute(self._list_all, {"ledger_id": ledger_id}).fetchall()

    def create_key(
        self, ctx: Context, ledger: int | str, token: Token, grant: Grant, *, make_ledger: bool
    ) -> tuple[ApiKey, bool]:
        """Store a key; where `make_ledger`, also the ledger when there is none of that name. Tells whether it was made.

        Raises NotFound for another ledger that does not exist, and for accounts that the ledger does not have.
        """
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            made = make_ledger and conn.execute(self._make_ledger, {"name": ledger}).fetchone() is not None
            return self._insert(conn, self._ledger_id(conn, ledger), token, grant), made

    def replace_key(self, ctx: Context, old: ApiKey, token: Token, grant: Grant, overlap_s: int) -> ApiKey | None:
        """Store the key that follows `old`, and let that end within `overlap_s`; None when it is valid no more."""
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            change = {"ledger_id": old.ledger_id, "old_id": old.id, "key_id": token.key_id, "overlap_s": overlap_s}
            if conn.execute(self._replace, change).fetchone() is None:
                return None
            return self._insert(conn, old.ledger_id, token, grant)

    def revoke_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> bool:
        """Mark the key revoked, keeping the first time; False when there is none."""
        with self._pool.connection(ctx, writes=True) as conn:
            return conn.execute(self._revoke, {"key_id": key_id, "ledger_id": ledger_id}).fetchone() is not None

    def note_key_uses(self, ctx: Context, uses: Sequence[KeyUse], not_within_s: float) -> None:
        """Write when keys were last used, but for those that have a time at most `not_within_s` earlier."""
        values: dict[str, Any] = {
            "ledger_ids": [use.ledger_id for use in uses],
            "key_ids": [use.key_id for use in uses],
            "ages_s": [use.age_s for use in uses],
            "not_within_s": not_within_s,
        }
        with self._pool.connection(ctx, writes=True) as conn:
            conn.execute(self._note_uses, values)

    def find_time(self, ctx: Context) -> datetime:
        """The database's clock, by which keys end."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._time).fetchone()
        assert row is not None, "a SELECT of one row gives it"
        now: datetime = row[0]
        return now

    def find_secret(self, ctx: Context, name: str) -> bytes:
        """A secret that all instances on this database share. Raises LookupError."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._secret, {"name": name}).fetchone()
        if row is None:
            raise LookupError(f"no secret {name}: run `ledgerd migrate`")
        return bytes(row[0])

    def _insert(self, conn: PgConnection, ledger_id: int, token: Token, grant: Grant) -> ApiKey:
        accounts = None if grant.debit_accounts is None else list(grant.debit_accounts)
        missing = conn.execute(self._find_missing_accounts, {"ledger_id": ledger_id, "account_ids": accounts}).fetchall()
        if missing:
            message = f"no such account in the key's ledger: {', '.join(str(account_id) for (account_id,) in missing)}"
            raise NotFound(f"debit_accounts: {message}.", fields=(FieldError("debit_accounts", message),))
        conn.execute(self._create, {
            "ledger_id": ledger_id, "key_id": token.key_id, "name": grant.name, "secret_hash": token.secret_hash,
            "scopes": list(grant.scopes), "debit_accounts": accounts, "expires_at": grant.expires_at,
            "rate_per_s": grant.rate_per_s, "burst": grant.burst,
        })
        key = self._key(conn, token.key_id, ledger_id)
        assert key is not None, "it was inserted in this transaction"
        return key

    def _key(self, conn: PgConnection, key_id: str, ledger_id: int | None) -> ApiKey | None:
        with conn.cursor(row_factory=args_row(ApiKey)) as cursor:
            return cursor.execute(self._find, {"key_id": key_id, "ledger_id": ledger_id}).fetchone()

    def _ledger_id(self, conn: PgConnection, ledger: int | str) -> int:
        if isinstance(ledger, int):
            return ledger
        row = conn.execute(self._find_ledger, {"name": ledger}).fetchone()
        if row is None:
            raise NotFound(f"No ledger {ledger!r}.", fields=(FieldError("ledger", "there is none of that name"),))
        return int(row[0])
