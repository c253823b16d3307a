"""Measure reads in a ledger of many transfers, in the database: statement pages, balances in the past, lists.

    python -m tests.bench.reads [--transfers 1000000] [--accounts 100000] [--rounds 5] [--json FILE]

It starts a PostgreSQL of its own and fills it: one account in a hundred takes half of all transfers, so that some have long
statements; one transfer in ten has a reference. Then each query is run on a warm cache for ten different arguments a round,
and the median time is printed, with the plan's nodes that read tables.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from service.repository.migrate import migrate
from service.repository.queries import Queries, sql_folder
from tests.bench.posting import server
from tests.big_ledger import BEGAN, PER_SECOND, fill, plan_nodes

ARGUMENTS = 10  # different ones a round


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
        "balance at a time": ("find_balance_at", [{"ledger_id": 1, "account_id": a, "at": t} for a, t in pairs]),
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


def main() -> int:
    """Fill, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the medians here, in milliseconds")
    options = parser.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    plans: dict[str, list[str]] = {}
    queries = Queries(sql_folder() / "queries")
    with server() as (postgres, _), psycopg.connect(postgres.url, autocommit=True) as conn:
        migrate(postgres.url, sql_folder(), lambda _: None)
        print(f"filling: {options.transfers:,} transfers, {options.accounts:,} accounts", file=sys.stderr)
        fill(conn, transfers=options.transfers, accounts=options.accounts)
        for name, (query, arguments) in cases(conn, options.transfers).items():
            plans[name] = plan_nodes(conn, queries.take(query), arguments[0])
            for number in range(options.rounds + 1):
                for values in arguments:
                    began = time.perf_counter()
                    conn.execute(queries.take(query), values, prepare=True).fetchall()
                    if number:  # the first round warms
                        figures[name].append(1000 * (time.perf_counter() - began))
    for name, values in figures.items():
        plan = ", ".join(sorted(set(plans[name])))
        print(f"{name:24} {statistics.median(values):7.2f} ms   worst {max(values):7.2f}   {plan}")
    if options.json:
        medians = {name: statistics.median(values) for name, values in figures.items()}
        options.json.write_text(json.dumps(medians, indent=2) + "\n")
    print(f"measured at {datetime.now(UTC):%Y-%m-%d %H:%M}Z", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
