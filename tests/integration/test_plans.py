"""A plan that was made while the tables were empty must still look rows up, not scan, when they are full."""

from __future__ import annotations

import psycopg
import pytest

from service.ledger.bulk import Chunk, Once
from service.ledger.transfers import PostRequest, link
from service.repository.bulk import BulkRepository
from service.repository.posting import encode
from service.repository.queries import Queries, sql_folder

MANY = 20_000
TABLES = ("accounts", "transfers", "idempotency_keys", "open_holds", "bulk_chunks")


@pytest.mark.parametrize("first", [None, "ANALYZE", "VACUUM ANALYZE"])
@pytest.mark.parametrize("early", [2, 30])
def test_plans_from_empty_tables_stay_lookups(
    db: psycopg.Connection, database_url: str, first: str | None, early: int
) -> None:
    """A connection whose plans are from (nearly) empty tables, known as such or not, reads few rows among many later."""
    query = Queries(sql_folder() / "queries").take("post_transfers")
    for table in TABLES:  # now, since to alter a table mends plans
        db.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    with psycopg.connect(database_url, autocommit=True) as conn:
        insert_accounts(conn, early)
        if first is not None:
            conn.execute(first)
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


@pytest.mark.parametrize("first", [None, "ANALYZE"])
def test_plans_for_holds_and_groups_stay_lookups(db: psycopg.Connection, database_url: str, first: str | None) -> None:
    """The same of holds, of what resolves them, and of a group that is replayed."""
    query = Queries(sql_folder() / "queries").take("post_transfers")
    for table in TABLES:
        db.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    with psycopg.connect(database_url, autocommit=True) as conn:
        insert_accounts(conn, 30)
        if first is not None:
            conn.execute(first)
        for n in range(12):
            hold_and_capture(conn, query, n + 1, f"early {n}")
        fill(db)

        before = read_rows(db)
        for n in range(100, 110):
            hold_and_capture(conn, query, n, f"late {n}")
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT 1")
        read = {table: count - before[table] for table, count in read_rows(db).items()}
    assert max(read.values()) < 1_000, f"rows read for 50 requests among {MANY}: {read}"


@pytest.mark.parametrize("first", [None, "ANALYZE"])
def test_plans_for_chunks_stay_lookups(db: psycopg.Connection, database_url: str, first: str | None) -> None:
    """The same of chunks that are posted, and of those that are answered from their record."""
    queries = Queries(sql_folder() / "queries")
    query, encode_chunk = queries.take("post_bulk"), BulkRepository(None, queries).encode  # type: ignore[arg-type]
    for table in TABLES:
        db.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")

    def post_chunk(conn: psycopg.Connection, name: str, account: int) -> None:
        requests = [PostRequest(ledger_id=1, from_account_id=account, to_account_id=account + 1, amount=1)] * 10
        for _ in range(2):
            arguments = encode_chunk(Chunk(1, requests, Once("bulk", name, 0, b"d" * 32)))
            assert [row[0] for row in conn.execute(query, arguments, prepare=True).fetchall()] == ["posted"] * 10

    with psycopg.connect(database_url, autocommit=True) as conn:
        insert_accounts(conn, 30)
        if first is not None:
            conn.execute(first)
        for n in range(12):
            post_chunk(conn, f"early {n}", n + 1)
        fill(db)

        before = read_rows(db)
        for n in range(100, 110):
            post_chunk(conn, f"late {n}", n)
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT 1")
        read = {table: count - before[table] for table, count in read_rows(db).items()}
    assert max(read.values()) < 1_000, f"rows read for 20 chunks among {MANY}: {read}"


def hold_and_capture(conn: psycopg.Connection, query: str, account: int, key: str) -> None:
    """Two holds in a group, posted and replayed, and one of them captured."""
    hold = PostRequest(ledger_id=1, from_account_id=account, to_account_id=account + 1, amount=1, kind="hold", key=key)
    for _ in range(2):
        rows = conn.execute(query, encode(link([hold, hold])), prepare=True).fetchall()
        assert [row[0] for row in rows] == ["posted"] * 2
    capture = PostRequest(
        ledger_id=1, from_account_id=account, to_account_id=account + 1, amount=1, kind="capture", resolves_id=rows[0][2]
    )
    assert conn.execute(query, encode([capture]), prepare=True).fetchall()[0][0] == "posted"


def post(conn: psycopg.Connection, query: str, moves: list[tuple[int, int, str]]) -> None:
    """Post a batch, each transfer under its key."""
    requests = [PostRequest(ledger_id=1, from_account_id=a, to_account_id=b, amount=1, key=key) for a, b, key in moves]
    outcomes = [row[0] for row in conn.execute(query, encode(requests), prepare=True).fetchall()]
    assert outcomes == ["posted"] * len(moves)


def insert_accounts(conn: psycopg.Connection, number: int) -> None:
    """Open accounts without a floor."""
    conn.execute(
        "INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, %s)", (number,)
    )


def fill(db: psycopg.Connection) -> None:
    """Make many accounts, keys and transfers, without telling the planner."""
    insert_accounts(db, MANY)
    db.execute(
        "INSERT INTO transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,"
        " to_balance, created_at, asset)"
        f" SELECT 1, 1000000, 1000001, 1, n, n, 0, 0, now(), 'USD/2' FROM generate_series(1, {MANY}) n"
    )
    db.execute(
        "INSERT INTO idempotency_keys (ledger_id, key, fingerprint, transfer_id)"
        f" SELECT 1, 'filler ' || n, '', n FROM generate_series(1, {MANY}) n"
    )
    db.execute(
        "INSERT INTO open_holds (ledger_id, transfer_id, from_account_id, to_account_id, amount)"
        f" SELECT 1, 1000000 + n, 1000000, 1000001, 1 FROM generate_series(1, {MANY}) n"
    )
    db.execute(
        "INSERT INTO bulk_chunks (ledger_id, source, name, chunk, fingerprint, transfer_ids)"
        f" SELECT 1, 'bulk', 'filler ' || n, 0, '', '{{}}' FROM generate_series(1, {MANY}) n"
    )


def read_rows(db: psycopg.Connection) -> dict[str, int]:
    """Rows that scans and index scans have read so far, by table."""
    db.execute("SELECT pg_stat_force_next_flush()")
    db.execute("SELECT 1")
    return dict(
        db.execute("SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
                   " WHERE relname = ANY (%s)", (list(TABLES),)).fetchall()
    )


def test_both_functions_are_set_alike(db: psycopg.Connection) -> None:
    """What fixes the plans of post_transfers holds for post_bulk as well, and so does what they answer."""
    settings, answers = (
        [row[0] for row in db.execute(
            f"SELECT {what} FROM pg_proc AS p WHERE proname IN ('post_transfers', 'post_bulk') ORDER BY proname"
        )]
        for what in ("proconfig", "pg_get_function_result(p.oid)")
    )
    assert settings[0] == settings[1]
    assert "enable_seqscan=off" in settings[0]
    assert answers[0] == answers[1]
