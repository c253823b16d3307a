"""In a ledger of many transfers every read goes along an index, and sorts no more than it has bounded before."""

from __future__ import annotations

import re

import psycopg

from service.repository.queries import Queries, sql_folder
from tests.bench.reads import cases
from tests.big_ledger import fill, plan_nodes

MANY = 20_000
MOST_SORTED = 1_000  # what a search looks at; others sort no more than two pages


def test_reads_scan_indexes_and_sort_no_table(db: psycopg.Connection) -> None:
    """Statements, balances in the past and lists, with each of their filters."""
    fill(db, transfers=MANY, accounts=500)
    queries = Queries(sql_folder() / "queries")
    for name, (query, arguments) in cases(db, MANY).items():
        nodes = plan_nodes(db, queries.take(query), arguments[0])
        assert nodes, name
        for node in nodes:
            sorted_rows = re.search(r"sort of (\d+) rows", node)
            assert "index scan" in node or (sorted_rows is not None and int(sorted_rows[1]) <= MOST_SORTED), f"{name}: {nodes}"


def test_a_moment_is_found_by_few_probes(db: psycopg.Connection) -> None:
    """In an account of thousands of entries, a balance in the past reads about two rows for each halving."""
    fill(db, transfers=MANY, accounts=2)
    query = Queries(sql_folder() / "queries").take("find_balance_at")
    db.execute("SELECT pg_stat_force_next_flush()")
    before = read_rows(db)
    where = {"ledger_id": 1, "account_id": 1, "at": "2025-01-01T00:10:00Z", "known_until": None}
    version = db.execute(query, where).fetchone()
    assert version is not None
    assert 1 < version[1] < MANY
    db.execute("SELECT pg_stat_force_next_flush()")
    assert read_rows(db) - before < 100


def read_rows(db: psycopg.Connection) -> int:
    """Rows of transfers that scans have read so far."""
    db.execute("SELECT 1")
    row = db.execute(
        "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'transfers'"
    ).fetchone()
    assert row is not None
    return int(row[0])
