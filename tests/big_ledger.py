"""A ledger with many transfers, made by the database itself, and what the planner does with queries on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg

BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
PER_SECOND = 10  # transfers, in the ledger's own time
BATCH = 8  # transfers of one moment


def fill(conn: psycopg.Connection, *, transfers: int, accounts: int) -> None:
    """Ledger 1 with half as many users as `accounts`.

    One account in a hundred takes part in half of all `transfers`; one transfer in ten has a reference. The books balance, and
    versions have no gap: balances and versions are counted up over the transfers in order.
    """
    conn.execute("INSERT INTO ledgers (name) VALUES ('big') ON CONFLICT DO NOTHING")
    conn.execute(
        "INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, %s)", (accounts,)
    )
    conn.execute(
        "INSERT INTO users (ledger_id, name, email)"
        " SELECT 1, 'first' || n %% 1009 || ' last' || n %% 997, 'user' || n || '@example.com' FROM generate_series(1, %s) n",
        (accounts // 2,),
    )
    conn.execute("SET work_mem = '256MB'")
    conn.execute(
        """
        CREATE TEMP TABLE drawn AS
        SELECT n, f, CASE WHEN t = f THEN f %% %(accounts)s + 1 ELSE t END AS t, 1 + (random() * 99)::int AS amount
        FROM (SELECT n, 1 + floor(random() * CASE WHEN n %% 2 = 0 THEN %(busy)s ELSE %(accounts)s END)::bigint AS f,
                     1 + floor(random() * %(accounts)s)::bigint AS t
              FROM generate_series(1, %(transfers)s) n) AS pair
        """,
        {"accounts": accounts, "busy": max(2, accounts // 100), "transfers": transfers},
    )
    conn.execute(
        """
        CREATE TEMP TABLE side AS
        SELECT n, account, credit, row_number() OVER entry AS version, sum(change) OVER entry AS balance
        FROM (SELECT n, f AS account, false AS credit, -amount AS change FROM drawn
              UNION ALL SELECT n, t, true, amount FROM drawn) AS half
        WINDOW entry AS (PARTITION BY account ORDER BY n)
        """
    )
    conn.execute(
        """
        INSERT INTO transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,
                               to_balance, created_at, asset, reference)
        SELECT 1, f, t, amount, debit.version, credit.version, debit.balance, credit.balance,
               %(began)s::timestamptz + (drawn.n / %(batch)s) * %(batch)s * interval '1 second' / %(per_second)s, 'USD/2',
               CASE WHEN drawn.n %% 10 = 0 THEN 'inv-' || drawn.n / 10 END
        FROM drawn
        JOIN side AS debit ON debit.n = drawn.n AND NOT debit.credit
        JOIN side AS credit ON credit.n = drawn.n AND credit.credit
        ORDER BY drawn.n
        """,
        {"began": BEGAN, "batch": BATCH, "per_second": PER_SECOND},
    )
    conn.execute(
        "UPDATE accounts SET version = last.version, balance = last.balance FROM"
        " (SELECT DISTINCT ON (account) account, version, balance FROM side ORDER BY account, n DESC) AS last"
        " WHERE ledger_id = 1 AND id = last.account"
    )
    conn.execute("DROP TABLE drawn, side")
    conn.execute("RESET work_mem")
    conn.execute("VACUUM ANALYZE")


def plan_nodes(conn: psycopg.Connection, query: str, arguments: dict[str, Any]) -> list[str]:
    """What the plan of `query` does with tables: scans with their index, and sorts with how many rows they were for."""
    row = conn.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", arguments).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return [text for node in _nodes(plan[0]["Plan"]) if (text := _described(node))]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def _described(node: dict[str, Any]) -> str | None:
    kind = node["Node Type"]
    if "Index" in kind and "Bitmap" not in kind:
        return f"index scan of {node['Index Name']}"
    if "Relation Name" in node:
        return f"{kind.lower()} of {node['Relation Name']}"
    if kind in ("Sort", "Incremental Sort"):
        return f"{kind.lower()} of {node['Actual Rows']:.0f} rows"
    return None
