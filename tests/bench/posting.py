"""Measure `post_transfers` alone, on one connection, beside pgbench on the same server.

    python -m tests.bench.posting [--rounds 3] [--json FILE]

It starts a PostgreSQL of its own (LEDGERD_POSTGRES_BIN chooses another than the packaged one), makes 10,000 accounts, and
posts batches of 1, 16, 64 and 1,000 between random accounts, with idempotency keys, without, and with all debits on one
account; each round measures everything once, and the medians are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from service.ledger.transfers import PostRequest
from service.repository.binaries import packaged_binaries
from service.repository.embedded import EmbeddedPostgres
from service.repository.migrate import migrate
from service.repository.posting import encode
from service.repository.queries import Queries, sql_folder

ACCOUNTS = 10_000
SIZES = (1, 16, 64, 1_000)
WANTED = 12_000  # transfers a figure, at most
MOST_BATCHES = 1_000
PGBENCH = ("-b", "tpcb-like", "-c", "16", "-M", "prepared", "-T", "4")


@contextmanager
def server() -> Iterator[tuple[EmbeddedPostgres, Path]]:
    """A PostgreSQL in a temporary folder, and its programs."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-bench-"))
    folder.chmod(0o755)
    bin_dir = Path(os.environ["LEDGERD_POSTGRES_BIN"]) if "LEDGERD_POSTGRES_BIN" in os.environ else packaged_binaries()
    postgres = EmbeddedPostgres(folder, bin_dir=bin_dir)
    try:
        postgres.start()
        yield postgres, bin_dir
    finally:
        postgres.stop()
        shutil.rmtree(folder)


def batch(size: int, *, keys: bool, hot: bool) -> list[PostRequest]:
    """Random transfers among the accounts; `hot` debits always the first."""
    made = []
    for _ in range(size):
        source, target = random.sample(range(1, ACCOUNTS + 1), 2)
        made.append(
            PostRequest(
                ledger_id=1, from_account_id=1 if hot else source, to_account_id=target if target != 1 else 2,
                amount=random.randint(1, 5), key=os.urandom(12).hex() if keys else None,
            )
        )
    return made


def rate(conn: psycopg.Connection, query: str, size: int, *, keys: bool, hot: bool) -> float:
    """Transfers a second in batches of `size`: the database's round trips alone."""
    batches = [encode(batch(size, keys=keys, hot=hot)) for _ in range(max(8, min(MOST_BATCHES, WANTED // size)))]
    began = time.perf_counter()
    for arguments in batches:
        rows = conn.execute(query, arguments, prepare=True).fetchall()
        assert all(row[0] == "posted" for row in rows)
    return len(batches) * size / (time.perf_counter() - began)


def open_accounts(conn: psycopg.Connection) -> None:
    """ACCOUNTS of ledger 1, without a floor."""
    conn.execute(
        f"INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, {ACCOUNTS})"
    )
    conn.execute("VACUUM ANALYZE")


def pgbench(bin_dir: Path, url: str) -> float:
    """Transactions a second of pgbench's own mix on the same server."""
    done = subprocess.run([bin_dir / "pgbench", *PGBENCH, url], capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the medians here")
    options = parser.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    with server() as (postgres, bin_dir):
        migrate(postgres.url, sql_folder(), lambda _: None)
        query = Queries(sql_folder() / "queries").take("post_transfers")
        subprocess.run([bin_dir / "pgbench", "-i", "-q", "-s", "10", postgres.url], capture_output=True, check=True)
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            conn.execute("INSERT INTO ledgers (name) VALUES ('main')")
            open_accounts(conn)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                figures["pgbench tpcb-like -c 16 -M prepared"].append(pgbench(bin_dir, postgres.url))
                for size in SIZES:
                    figures[f"batches of {size}, keys"].append(rate(conn, query, size, keys=True, hot=False))
                    figures[f"batches of {size}, no keys"].append(rate(conn, query, size, keys=False, hot=False))
                    figures[f"batches of {size}, keys, one hot account"].append(rate(conn, query, size, keys=True, hot=True))
    medians = {name: round(statistics.median(values)) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name:45} {value:8,}/s")
    if options.json:
        options.json.write_text(json.dumps(medians, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
