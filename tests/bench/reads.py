"""Measure reads in a ledger of many transfers, and in one of ten times as many.

    python -m tests.bench.reads [--rows 1000000] [--accounts 100000] [--rounds 5] [--export] [--json FILE]

For each ledger it starts a PostgreSQL of its own and fills it: one account in a hundred takes half of all transfers, so that
some have long statements; one transfer in ten has a reference. Then each query of statements, balances in the past, lists and
searches is run in the database, on a warm cache, for ten different arguments a round. Printed are the median time in either
ledger, by how much it has grown, and the nodes of the plan in the larger one that read tables. `--export` exports the larger
one as well (see tests/bench/export.py).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from service.repository.migrate import migrate
from service.repository.queries import Queries, sql_folder
from tests.bench.export import export
from tests.bench.posting import server
from tests.big_ledger import BEGAN, PER_SECOND, fill, plan_nodes

ARGUMENTS = 10  # different ones a round
GROWN = 10  # times as many transfers


def cases(conn: psycopg.Connection, transfers: int) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """Each read by name: its query, and the arguments to run it with."""
    found = conn.execute("SELECT id FROM accounts ORDER BY version DESC LIMIT %s", (ARGUMENTS,)).fetchall()
    busiest = [row[0] for row in found]
    last = BEGAN + timedelta(seconds=transfers / PER_SECOND)
    middle = [BEGAN + (last - BEGAN) * random.random() for _ in range(ARGUMENTS)]
    page: dict[str, Any] = {"ledger_id": 1, "limit": 51, "since": None, "until": None}
    line = page | {"after": 0, "before": 2**62, "direction": None}
    pairs = list(zip(busiest, middle, strict=True))
    return {
        "statement, first page": ("list_entries", [line | {"account_id": a} for a, _ in pairs]),
        "statement, last page": ("list_entries", [line | {"account_id": a, "before": 52} for a, _ in pairs]),
        "statement, a day": (
            "list_entries", [line | {"account_id": a, "since": t, "until": t + timedelta(days=1)} for a, t in pairs]
        ),
        "balance at a time": (
            "find_balance_at", [{"ledger_id": 1, "account_id": a, "at": t, "known_until": None} for a, t in pairs],
        ),
        "list, first page": ("list_transfers", [page | {"before": 2**62}] * ARGUMENTS),
        "list, last page": ("list_transfers", [page | {"before": 52}] * ARGUMENTS),
        "list by account": ("list_transfers_of_account", [page | {"account_id": a, "before": 2**62} for a, _ in pairs]),
        "list by time": (
            "list_transfers_by_time", [page | {"since": t - timedelta(days=1), "until": t, "before": 2**62} for t in middle]
        ),
        "list by reference": (
            "list_transfers_by_reference",
            [page | {"reference": f"inv-{random.randrange(transfers // 10)}", "account_id": None, "before": 2**62}
             for _ in range(ARGUMENTS)],
        ),
        "search, two words": (
            "search_words", [{"ledger_id": 1, "limit": 20, "text": f"first{n} last{n}"} for n in range(11, 11 + ARGUMENTS)]
        ),
        "search, frequent words": ("search_words", [{"ledger_id": 1, "limit": 20, "text": "com user"}] * ARGUMENTS),
        "search, a reference": (
            "search_references", [{"ledger_id": 1, "limit": 20, "text": f"INV-{n}"} for n in range(11, 11 + ARGUMENTS)]
        ),
    }


def measure(conn: psycopg.Connection, transfers: int, rounds: int) -> dict[str, tuple[float, list[str]]]:
    """By read: the median in milliseconds, and what its plan does."""
    queries = Queries(sql_folder() / "queries")
    found = {}
    for name, (query, arguments) in cases(conn, transfers).items():
        took_ms = []
        for number in range(rounds + 1):
            for values in arguments:
                began = time.perf_counter()
                conn.execute(queries.take(query), values, prepare=True).fetchall()
                if number:  # the first round warms
                    took_ms.append(1000 * (time.perf_counter() - began))
        found[name] = statistics.median(took_ms), plan_nodes(conn, queries.take(query), arguments[0])
    return found


def _tell(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%SZ} {what}", file=sys.stderr)


def main() -> int:
    """Fill, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="transfers in the smaller ledger")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--export", action="store_true", help="also export the larger ledger through HTTP")
    parser.add_argument("--json", type=Path, help="also write the medians, in milliseconds, and the ratios here")
    options = parser.parse_args()
    figures, exported = [], None
    for transfers in (options.rows, GROWN * options.rows):
        with server() as (postgres, _), psycopg.connect(postgres.url, autocommit=True) as conn:
            migrate(postgres.url, sql_folder(), lambda _: None)
            _tell(f"filling: {transfers:,} transfers, {options.accounts:,} accounts")
            fill(conn, transfers=transfers, accounts=options.accounts)
            _tell("measuring")
            figures.append(measure(conn, transfers, options.rounds))
            if options.export and transfers > options.rows:
                exported = export(postgres.url)
    small, large = figures
    print(f"{'milliseconds, median':24} {options.rows:>12,} {GROWN * options.rows:>12,}  ratio")
    for name, (large_ms, plan) in large.items():
        small_ms = small[name][0]
        print(f"{name:24} {small_ms:12.2f} {large_ms:12.2f} {large_ms / small_ms:6.2f}  {', '.join(sorted(set(plan)))}")
    if exported is not None:
        print(exported)
    if options.json:
        medians = {name: [small[name][0], ms, ms / small[name][0]] for name, (ms, _) in large.items()}
        options.json.write_text(json.dumps(medians, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
