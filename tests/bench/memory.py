"""What a worker takes in memory: at rest, and over a million requests.

    python -m tests.bench.memory [--requests 1000000] [--rest-mib 85] [--json FILE]

It starts a PostgreSQL of its own and `ledgerd serve`, lets it rest, and then has wrk send half reads of users and half
transfers (the scenario `mixed` of `make compare`) until so many were answered. The workers' resident memory (VmRSS, pages
that they share counted in each) is looked at every second. At rest none may take more than --rest-mib; and from when a
fifth of the time is over, and the caches are filled, none may grow by over a tenth. Needed: wrk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.compare import wrk
from tests.bench.compare.programs import ledgerd
from tests.bench.compare.scenarios import SCENARIOS
from tests.bench.posting import server
from tests.bench.resident import Watched, resident_mib, warm_and_end

REST_S = 5
SLICE_S = 10  # of load; between two the requests are counted


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="that are answered (default 1,000,000)")
    parser.add_argument("--scenario", default="mixed", choices=SCENARIOS, help="the load (default mixed)")
    parser.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    parser.add_argument("--count", type=int, default=1_000, help="users, and accounts (default 1,000)")
    parser.add_argument("--rest-mib", type=float, default=85, help="the most at rest (default 85, which is 89 MB)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if missing := wrk.is_missing():
        print(missing, file=sys.stderr)
        return 2
    scenario, answered, failed = SCENARIOS[options.scenario], 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="ledgerd-memory-") as folder,
        server() as (postgres, _),
        ledgerd(postgres.url, Path(folder), options.count) as program,
    ):
        time.sleep(REST_S)
        rest = [resident_mib(pid) for pid in program.workers]
        print(f"at rest: {', '.join(f'{mib:.1f}' for mib in rest)} MiB", flush=True)
        with Watched(program.workers) as watched:
            for seed in range(1, 1_000_000):
                measured = wrk.measure(
                    program.port, connections=options.connections, seconds=SLICE_S, **scenario.environment(program, seed)
                )
                answered, failed = answered + measured.requests, failed + measured.failed
                print(f"\r{answered:,} of {options.requests:,} requests", end="", file=sys.stderr)
                if answered >= options.requests or not measured.requests:
                    break
    print(file=sys.stderr)
    print(watched)
    broken = [f"{mib:.1f} MiB at rest are more than {options.rest_mib:g}" for mib in rest if mib > options.rest_mib]
    broken += watched.grown()
    broken += [f"{failed} requests failed"] if failed else []
    print("\n".join(broken) or f"{answered:,} requests: all bounds were kept")
    if options.json:
        workers = [[rest[n], *warm_and_end(samples)] for n, samples in enumerate(watched.samples.values())]
        figures = {"requests": answered, "workers_rest_warm_end_mib": workers}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
