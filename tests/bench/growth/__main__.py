"""The same load on ledgers of very different sizes, and a month of changes in miniature.

    python -m tests.bench.growth [--accounts 10000 1000000 10000000] [--transfers 0 10000000 50000000] [--data DIR]
    python -m tests.bench.growth --month [--minutes 10]

The first: ledgers are filled by COPY, with all versions, balances, seals and events as posting would have left them;
then `ledgerd serve` is loaded on a copy of each by wrk, with transfers between random accounts and with half reads of
users. Printed are rates, percentiles, and the bytes that a transfer and an account take, index by index. Each number
of accounts is measured without transfers, and each number of transfers with the accounts of --middle. With --data the
filled ledgers and the figures (figures.json) stay in that folder, and what is there is not filled and not measured
again, also after a break; without it everything is in a temporary folder. A run begins right after a checkpoint, when
each page that is touched is logged as a whole; in a large ledger that takes minutes to pass, so what it does for most
of the time shows after --warm 240. Filling, with indexes and seals, writes some 40,000 transfers a second; fifty
million and their copy take about 45 GB. `ledgerd verify` examines each ledger of up to --verify transfers.

The second: 10,000 accounts are changed as often as a million would be in a month of ten transfers a second, 52 times
each, and on, with keys, while autovacuum looks every second instead of every minute. Printed are, for each stretch, the
rate, the size of the tables, dead rows, and the share of updates that needed no new index entry (HOT). Status 1 where the
table of the accounts still grows after half of the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.compare import wrk
from tests.bench.compare.programs import Program
from tests.bench.compare.wrk import Measured
from tests.bench.growth.cluster import Cluster
from tests.bench.growth.filling import SPARE, bytes_needed
from tests.bench.growth.month import month

TRANSFERS = {"READS": "0", "PICK": "uniform", "KEYED": "0"}
LOADS = {"transfers": TRANSFERS, "half reads": {**TRANSFERS, "READS": "50"}}
Figure = dict[str, Any]


def tell(what: str) -> None:
    """On standard error, with the time."""
    print(f"{datetime.now(UTC):%H:%M:%SZ} {what}", file=sys.stderr)


def points(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Accounts and transfers of each ledger that is measured, such that each is filled from the one before."""
    found = {(accounts, min(options.transfers)) for accounts in options.accounts}
    found |= {(options.middle, transfers) for transfers in options.transfers}
    return sorted(found)


def check_disk(folder: Path, wanted: list[tuple[int, int]]) -> str | None:
    """What is wrong with the disk, if something is: each number of accounts is a ledger, the greatest is there twice."""
    largest: dict[int, int] = {}
    for accounts, transfers in wanted:
        largest[accounts] = max(transfers, largest.get(accounts, 0))
    sizes = [bytes_needed(accounts, transfers) for accounts, transfers in largest.items()]
    there = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())  # of an earlier run
    needed, free = sum(sizes) + max(sizes) + SPARE - there, shutil.disk_usage(folder).free
    return None if free >= needed else f"{folder} has {free / 1e9:.0f} GB free; about {needed / 1e9:.0f} GB are needed"


def show(figure: Figure) -> None:
    """A line of the table."""
    print(
        f"{figure['accounts']:12,} {figure['transfers']:12,}  {figure['load']:11} {figure['per_s']:9,.0f}"
        f" {figure['p50_ms']:8.1f} {figure['p99_ms']:8.1f}  {figure['failed']}",
        flush=True,
    )


def measure(program: Program, load: dict[str, str], options: argparse.Namespace) -> Measured:
    """The run with the median rate; one before them warms."""
    runs = []
    for seed in range(options.rounds + 1):
        environment = {**program.environment, **load, "SEED": str(seed)}
        runs.append(wrk.measure(program.port, connections=64, seconds=options.seconds, **environment))
    return sorted(runs[1:], key=lambda run: run.per_s)[options.rounds // 2]


def grow(cluster: Cluster, options: argparse.Namespace, kept: Path) -> list[Figure]:
    """Fill, measure and print point by point; what `kept` has already is only printed, and each point is added to it."""
    found: list[Figure] = json.loads(kept.read_text()) if kept.exists() else []
    print(f"{'accounts':>12} {'transfers':>12}  {'load':11} {'a second':>9} {'p50 ms':>8} {'p99 ms':>8}  failed")
    for accounts, transfers in points(options):
        if before := [one for one in found if (one["accounts"], one["transfers"]) == (accounts, transfers)]:
            for one in before:
                show(one)
            continue
        if (there := cluster.fill(accounts, transfers, tell)) > transfers:
            tell(f"{accounts:,} accounts, {transfers:,} transfers: not measured, since that ledger has {there:,} by now")
            continue
        tell(f"measuring {accounts:,} accounts, {transfers:,} transfers")
        with cluster.served_copy(accounts, verify=transfers <= options.verify) as program:
            warm = {**program.environment, **TRANSFERS, "SEED": "-1"}
            wrk.measure(program.port, connections=64, seconds=options.warm, **warm)
            for name, load in LOADS.items():
                run = measure(program, load, options)
                found.append({"accounts": accounts, "transfers": transfers, "load": name, **asdict(run)})
                show(found[-1])
        print(cluster.sizes(accounts, transfers), flush=True)
        kept.write_text(json.dumps(found, indent=2) + "\n")
    return found


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="+", default=[10_000, 1_000_000, 10_000_000])
    parser.add_argument("--transfers", type=int, nargs="+", default=[0, 10_000_000, 50_000_000])
    parser.add_argument("--middle", type=int, help="the accounts of those with transfers (default: the middle of --accounts)")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is taken (default 3)")
    parser.add_argument("--warm", type=float, default=10, help="seconds of transfers before all measurements (default 10)")
    parser.add_argument("--verify", type=int, default=1_000_000, help="the most transfers to verify (default 1,000,000)")
    parser.add_argument("--month", action="store_true", help="a month of changes instead")
    parser.add_argument("--minutes", type=float, default=10, help="that the month takes at most (default 10)")
    parser.add_argument("--data", type=Path, help="where the ledgers stay (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.middle = options.middle or sorted(options.accounts)[len(options.accounts) // 2]
    if missing := wrk.is_missing():
        print(missing, file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-growth-")))
        folder.mkdir(parents=True, exist_ok=True)
        if not options.month and (problem := check_disk(folder, points(options))):
            print(problem, file=sys.stderr)
            return 2
        cluster = stack.enter_context(Cluster(folder))
        if options.month:
            figures, broken = month(cluster, options.minutes, tell)
        else:
            figures, broken = grow(cluster, options, folder / "figures.json"), []
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("\n".join(broken))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
