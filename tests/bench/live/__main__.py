"""Many clients of live events at once, some of which do not read, while transfers are posted and the server is restarted.

    python -m tests.bench.live [--clients 2000] [--stalled 0.1] [--rate 200] [--seconds 60] [--accounts 1] [--json FILE]

It starts `ledgerd serve` with two workers and an embedded PostgreSQL in a temporary folder. Half of the clients are told over
Server-Sent Events, half over WebSockets, each of everything (or, with --accounts N, of one account in N). In the middle the
server is stopped by SIGTERM and started again. At the end the whole log is read, and held against what each client was told:
the exit status is 1 for a single event that was left out or told twice.

Delays are from an event's time to its receipt by a client, of the oldest event in each receipt: those of the quiet part leave
out the time from the stop until all clients were back. Clients, posting, server and database share the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from tests.bench.live.run import Options, run


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--stalled", type=float, default=0.1, help="the share of clients that do not read")
    parser.add_argument("--rate", type=float, default=200, help="transfers a second")
    parser.add_argument("--seconds", type=float, default=60, help="of load")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--accounts", type=int, default=1, help="each client listens to one in so many")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = vars(parser.parse_args())
    path = asked.pop("json")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report = run(Options(**asked))
    print(report)
    if path is not None:
        path.write_text(json.dumps(asdict(report), indent=1))
    return 0 if report.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
