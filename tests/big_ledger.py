"""A ledger with many transfers, and what the planner does with queries on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psycopg

LEDGER = "big"
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
PER_SECOND = 10  # transfers, in the ledger's own time
BATCH = 8  # transfers of one moment
ROWS_A_WRITE = 1_000
NULL = r"\N"  # in COPY's text

COPY = """
COPY transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance, to_balance,
                created_at, asset, reference) FROM STDIN
"""
_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'transfers' ORDER BY indexname"


def fill(conn: psycopg.Connection, *, transfers: int, accounts: int) -> None:
    """Ledger 1 of a fresh database, with half as many users as `accounts`.

    One account in a hundred takes part in half of all `transfers`; one transfer in ten has a reference. The books balance, and
    versions have no gap: balances and versions are counted up over the transfers in order. The same numbers give the same
    ledger. Transfers are streamed into the bare table, and its indexes are made afterwards as the migrations have made them:
    the memory that it takes here is the accounts'.
    """
    conn.execute("INSERT INTO ledgers (name) VALUES (%s) ON CONFLICT DO NOTHING", (LEDGER,))
    conn.execute(
        "INSERT INTO users (ledger_id, name, email)"
        " SELECT 1, 'first' || n %% 1009 || ' last' || n %% 997, 'user' || n || '@example.com' FROM generate_series(1, %s) n",
        (accounts // 2,),
    )
    versions, balances = [0] * (accounts + 1), [0] * (accounts + 1)
    with indexes_made_afterwards(conn), conn.cursor() as cursor, cursor.copy(COPY) as copy:
        for part in rows_of_transfers(transfers, versions, balances):
            copy.write(part)
    conn.execute(
        "INSERT INTO accounts (ledger_id, asset, min_balance, version, balance)"
        " SELECT 1, 'USD/2', NULL, version, balance"
        " FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS made (version, balance, n) ORDER BY n",
        (versions[1:], balances[1:]),
    )
    conn.execute("VACUUM ANALYZE")


def rows_of_transfers(
    number: int, versions: MutableSequence[int], balances: MutableSequence[int], *, after: int = 0
) -> Iterator[str]:
    """The rows for COPY, a thousand at a time; versions and balances of the accounts are counted up on the way.

    `after` is how many there are already: time goes on from there.
    """
    draw, accounts = Random(number).random, len(versions) - 1
    busy = max(2, accounts // 100)
    rows: list[str] = []
    moment = (BEGAN + timedelta(seconds=after / PER_SECOND)).isoformat()
    for n in range(after + 1, after + number + 1):
        source = 1 + int(draw() * (accounts if n % 2 else busy))
        target = 1 + int(draw() * accounts)
        if target == source:
            target = source % accounts + 1
        amount = 1 + int(draw() * 100)
        versions[source] += 1
        versions[target] += 1
        balances[source] -= amount
        balances[target] += amount
        if n % BATCH == 0:
            moment = (BEGAN + timedelta(seconds=n / PER_SECOND)).isoformat()
        reference = NULL if n % 10 else f"inv-{n // 10}"
        rows.append(
            f"1\t{source}\t{target}\t{amount}\t{versions[source]}\t{versions[target]}\t{balances[source]}\t{balances[target]}\t"
            f"{moment}\tUSD/2\t{reference}\n"
        )
        if len(rows) == ROWS_A_WRITE:
            yield "".join(rows)
            rows.clear()
    yield "".join(rows)


@contextmanager
def indexes_made_afterwards(conn: psycopg.Connection) -> Iterator[None]:
    """In the block `transfers` has no index; then those that there were, each by its own definition."""
    primary_key = conn.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'transfers'::regclass AND contype = 'p'"
    ).fetchone()
    assert primary_key is not None
    before = conn.execute(_INDEXES).fetchall()
    conn.execute(f"ALTER TABLE transfers DROP CONSTRAINT {primary_key[0]}")
    for name, _ in before:
        conn.execute(f"DROP INDEX IF EXISTS {name}")
    yield
    conn.execute("SET maintenance_work_mem = '1GB'")
    conn.execute(f"ALTER TABLE transfers ADD CONSTRAINT {primary_key[0]} {primary_key[1]}")
    for name, definition in before:
        if name != primary_key[0]:
            conn.execute(definition)
    conn.execute("RESET maintenance_work_mem")
    assert conn.execute(_INDEXES).fetchall() == before, "the table is not what the migrations make"


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
