"""A plan that was made while the tables were empty must still look rows up, not scan, when they are full."""

from __future__ import annotations

import psycopg

from service.repository.posting import encode
from service.repository.queries import Queries, sql_folder
from tests.integration.test_model import PostRequest

MANY = 20_000


def test_plans_from_empty_tables_stay_lookups(db: psycopg.Connection, database_url: str) -> None:
    """One connection posts first into (analysed) empty tables, then among many rows, and reads only a few rows for it."""
    query = Queries(sql_folder() / "queries").take("post_transfers")
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ANALYZE")
        conn.execute("INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, 2)")
        for n in range(12):
            post(conn, query, [(1, 2, f"early {n}")])
        fill(db)

        before = read_rows(db)
        post(conn, query, [(n, n + 1, f"late {n}") for n in range(100, 110)])
        post(conn, query, [(n, n + 1, f"late {n}") for n in range(100, 110)])  # replayed: the stored rows are looked up
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT 1")
        read = {table: count - before[table] for table, count in read_rows(db).items()}
    assert max(read.values()) < 1_000, f"rows read for 20 requests among {MANY}: {read}"


def post(conn: psycopg.Connection, query: str, moves: list[tuple[int, int, str]]) -> None:
    """Post a batch, each transfer under its key."""
    requests = [PostRequest(ledger_id=1, from_account_id=a, to_account_id=b, amount=1, key=key) for a, b, key in moves]
    outcomes = [row[0] for row in conn.execute(query, encode(requests), prepare=True).fetchall()]
    assert outcomes == ["posted"] * len(moves)


def fill(db: psycopg.Connection) -> None:
    """Make many accounts, keys and transfers, without telling the planner."""
    db.execute("ALTER TABLE accounts SET (autovacuum_enabled = off)")
    db.execute("ALTER TABLE transfers SET (autovacuum_enabled = off)")
    db.execute("ALTER TABLE idempotency_keys SET (autovacuum_enabled = off)")
    db.execute(f"INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, {MANY})")
    db.execute(
        "INSERT INTO transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,"
        " to_balance, created_at, asset)"
        f" SELECT 1, 1000000, 1000001, 1, n, n, 0, 0, now(), 'USD/2' FROM generate_series(1, {MANY}) n"
    )
    db.execute(
        "INSERT INTO idempotency_keys (ledger_id, key, fingerprint, transfer_id)"
        f" SELECT 1, 'filler ' || n, '', n FROM generate_series(1, {MANY}) n"
    )


def read_rows(db: psycopg.Connection) -> dict[str, int]:
    """Rows that scans and index scans have read so far, by table."""
    db.execute("SELECT pg_stat_force_next_flush()")
    db.execute("SELECT 1")
    return dict(
        db.execute("SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
                   " WHERE relname IN ('accounts', 'transfers', 'idempotency_keys')").fetchall()
    )
