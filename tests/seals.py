"""Rows to seal, put into the log as the function would write them, and seals over them."""

from __future__ import annotations

from typing import Any

import psycopg

from service.concurrency.context import background
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.reader import Reader
from service.repository.seals import SealRepository

FOREVER_S = 1e6


def seal_repository(pool: Pool) -> SealRepository:
    """What makes and reads seals."""
    queries = Queries(sql_folder() / "queries")
    return SealRepository(pool, Reader(pool, queries), queries)


def seal_all(seals: SealRepository, *, most_rows: int = 10_000) -> int:
    """Seal everything that is settled; how many seals were made."""
    return seals.seal_due(background(), interval_s=0, most_rows=most_rows, most_seals=1_000)


def open_accounts(db: psycopg.Connection, ledger_id: int = 1, count: int = 2) -> list[int]:
    """Accounts in USD/2 without a floor."""
    query = "INSERT INTO accounts (ledger_id, asset, min_balance) VALUES (%s, 'USD/2', NULL) RETURNING id"
    return [_one(db, query, ledger_id) for _ in range(count)]


def move(conn: psycopg.Connection, source: int, target: int, amount: int = 10, ledger_id: int = 1, **more: Any) -> int:
    """Move money as post_transfers does, in the transaction that `conn` is in; the row's id."""
    change = (
        "UPDATE accounts SET balance = balance + %s, version = version + 1 WHERE ledger_id = %s AND id = %s"
        " RETURNING version, balance"
    )
    versions = {}
    for account, by in sorted([(source, -amount), (target, amount)]):
        versions[account] = conn.execute(change, (by, ledger_id, account)).fetchone()
    (from_version, from_balance), (to_version, to_balance) = versions[source], versions[target]
    row = {
        "ledger_id": ledger_id, "from_account_id": source, "to_account_id": target, "amount": amount, "asset": "USD/2",
        "from_version": from_version, "to_version": to_version, "from_balance": from_balance, "to_balance": to_balance, **more,
    }
    names = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    query = f"INSERT INTO transfers ({names}, created_at) VALUES ({values}, clock_timestamp()) RETURNING id"
    found = conn.execute(query, row).fetchone()
    assert found is not None
    return int(found[0])


def _one(db: psycopg.Connection, query: str, *values: Any) -> int:
    row = db.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])
