"""Measure `ledgerd verify` on one process and on several, and how fast a long log is sealed.

    python -m tests.bench.verify [--transfers 1000000] [--accounts 100000] [--jobs 1 2] [--rounds 3] [--json FILE]

It starts a PostgreSQL of its own, fills and seals it, and runs the command as a user does, start-up included: the median
of the rounds, which take turns. A machine with fewer free cores than jobs tells nothing of the gain.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import psycopg

from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.bench.posting import server
from tests.big_ledger import fill
from tests.integration.conftest import open_pool
from tests.seals import seal_all, seal_repository
from tests.serving import LEDGERD, clean_env


def main() -> int:
    """Fill, seal, verify, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with server() as (postgres, _):
        migrate(postgres.url, sql_folder(), lambda _: None)
        with psycopg.connect(postgres.url, autocommit=True) as conn, open_pool(postgres.url, timeout_s=3600) as pool:
            fill(conn, transfers=options.transfers, accounts=options.accounts)
            began = time.perf_counter()
            seals = seal_all(seal_repository(pool))
            sealing_s = time.perf_counter() - began
            conn.execute("VACUUM ANALYZE")
        took: dict[int, list[float]] = {jobs: [] for jobs in options.jobs}
        greatest_mb = 0.0
        for _ in range(options.rounds):
            for jobs in options.jobs:
                seconds, megabytes = verify(postgres.url, jobs)
                took[jobs].append(seconds)
                greatest_mb = max(greatest_mb, megabytes)
    medians = {jobs: statistics.median(times) for jobs, times in took.items()}
    print(f"{options.transfers:,} transfers, {options.accounts:,} accounts, {len(os.sched_getaffinity(0))} cores")
    print(f"sealed in {sealing_s:.1f} s: {seals} seals, {options.transfers / sealing_s:,.0f} transfers/s")
    print(f"{'jobs':>5} {'seconds':>8} {'transfers/s':>12} {'gain':>6}   (greatest process: {greatest_mb:.0f} MB)")
    for jobs, median in medians.items():
        print(f"{jobs:>5} {median:>8.2f} {options.transfers / median:>12,.0f} {medians[options.jobs[0]] / median:>5.2f}x")
    if options.json:
        options.json.write_text(json.dumps({
            "transfers": options.transfers, "accounts": options.accounts, "seals": seals, "sealing_s": sealing_s,
            "verify_s": {str(jobs): times for jobs, times in took.items()}, "greatest_process_mb": greatest_mb,
        }, indent=2))
    return 0


def verify(url: str, jobs: int) -> tuple[float, float]:
    """Run the command, which must find nothing: how long it took, in seconds, and the size of its greatest process, in MB."""
    began = time.perf_counter()
    command = [*LEDGERD, "verify", "--jobs", str(jobs)]
    pid = os.posix_spawn(command[0], command, clean_env(DATABASE_URL=url))
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
