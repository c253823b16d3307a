"""Reads over HTTP from two streaming replicas while one of them is slow, dies or is behind, with hedging and without.

    python -m tests.bench.replicas [--seconds 9] [--reads 150] [--json FILE]

It starts a primary and two replicas, each behind a proxy, and for each line a `ledgerd serve` with two workers. Without
hedging is LEDGERD_HEDGE_AFTER_S at its greatest, a day: there is no other way to turn it off. Paced clients read pages of
statements and lists; others write, and bring each write's Ledger-Position to a read on another connection. The exit status is
1 when something is not 0 that must be: failed and stale reads, statements that still run on a replica after the load, hedges
beyond their bound. Times are from sending a request to its answer, reads that bring a position included.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import psycopg

from service.repository.embedded import DATABASE
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.bench.posting import server
from tests.big_ledger import fill
from tests.replicas.cases import CASES, HEAD, run
from tests.replicas.conftest import behind_proxies
from tests.standby import streaming_standby

TRANSFERS, ACCOUNTS = 20_000, 100


def main() -> int:
    """Run every case, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=9, help="of load in each case")
    parser.add_argument("--reads", type=float, default=150, help="a second")
    parser.add_argument("--json", type=Path, help="also write the lines here")
    options = parser.parse_args()
    rows = []
    with ExitStack() as stack:
        primary, _ = stack.enter_context(server())
        migrate(primary.url, sql_folder(), lambda _: None)
        with psycopg.connect(primary.url, autocommit=True) as conn:
            fill(conn, transfers=TRANSFERS, accounts=ACCOUNTS)
        servers = [stack.enter_context(streaming_standby(primary)) for _ in range(2)]
        standbys = stack.enter_context(behind_proxies(servers, DATABASE))
        print(HEAD)
        for name in CASES:
            for hedging in (False, True):
                row = run(
                    name, primary.url, standbys,
                    hedging=hedging, accounts=ACCOUNTS, seconds=options.seconds, reads=options.reads,
                )
                rows.append(row)
                print(row, flush=True)
    wrong = [row for row in rows if not row.is_right]
    for row in wrong:
        print(f"wrong: {row}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
