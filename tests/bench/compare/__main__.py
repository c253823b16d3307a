"""Measure ledgerd beside a plain Go program: one PostgreSQL, one load, in turns, in one run. `make compare` calls it.

    python -m tests.bench.compare [SCENARIO …] [--seconds 5] [--rounds 5] [--bounds uniform=1.5,users=1] [--json FILE]

It starts a PostgreSQL of its own (LEDGERD_POSTGRES_BIN chooses another than the packaged one), `ledgerd serve` with its
defaults but for --log-level, and the peer (tests/bench/peer), which it compiles; both reach PostgreSQL by its Unix socket.
ledgerd checks the key, rules, limits and versions of each transfer, and counts it; the peer does none of that. wrk loads
them in turns, the first of a pair changing each time. Printed are the medians of each, the median of the pairs' ratios with
the lowest and the highest, and what failed. At the end `ledgerd verify` must find the books in order.

Needed: wrk, and Go with a module proxy or Debian's golang-github-jackc-pgx-v4-dev. Status 1 where a ratio is below its bound
or requests failed, 2 where something is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from tests.bench.compare import wrk
from tests.bench.compare.programs import BuildError, Program, build_peer, ledgerd, peer
from tests.bench.compare.scenarios import SCENARIOS, Scenario, bounds
from tests.bench.compare.wrk import Measured
from tests.bench.posting import server


@dataclass(frozen=True)
class Outcome:
    """A scenario's figures: medians, and the ratio of each pair."""

    ledgerd: Measured
    go: Measured
    ratio: float
    lowest: float
    highest: float


def run(scenario: Scenario, ours: Program, theirs: Program, options: argparse.Namespace) -> Outcome:
    """Load both in turns, as often as --rounds says, after --warm seconds each that do not count."""
    connections = scenario.connections or options.connections
    pairs = []
    if options.warm:
        for program in (ours, theirs):
            environment = scenario.environment(program, next_seed())
            wrk.measure(program.port, connections=connections, seconds=options.warm, **environment)
    for number in range(options.rounds):
        seed, found = next_seed(), {}
        for program in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            environment = scenario.environment(program, seed)
            found[program.name] = wrk.measure(program.port, connections=connections, seconds=options.seconds, **environment)
        pairs.append((found[ours.name], found[theirs.name]))
    ratios = [mine.per_s / other.per_s for mine, other in pairs]
    mine, other = (_medians([pair[side] for pair in pairs]) for side in (0, 1))
    return Outcome(mine, other, statistics.median(ratios), min(ratios), max(ratios))


_seeds = iter(range(1, 1_000_000))


def next_seed() -> int:
    """Another one each time: a key that was used must not come again."""
    return next(_seeds)


def _medians(runs: list[Measured]) -> Measured:
    return Measured(
        statistics.median(run.per_s for run in runs), statistics.median(run.p50_ms for run in runs),
        statistics.median(run.p99_ms for run in runs), sum(run.failed for run in runs),
    )


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(f"{name}: {scenario.what}" for name, scenario in SCENARIOS.items())
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{names} (default: all)")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements of each scenario (default 5)")
    parser.add_argument("--warm", type=float, default=2, help="seconds of load before, which do not count (default 2)")
    parser.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    parser.add_argument("--count", type=int, default=10_000, help="users, and accounts (default 10,000)")
    parser.add_argument("--log-level", default="warning", help="of ledgerd; info: a line a request (default warning)")
    parser.add_argument("--go", help="the Go compiler (default: where it is usually found)")
    parser.add_argument("--bounds", type=bounds, default={}, help="the least ratio of a scenario, as NAME=RATIO,…")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.scenarios = options.scenarios or list(SCENARIOS)
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if options.count < 2 or options.rounds < 1:
        parser.error("at least two accounts and one round are needed")
    return options


def compare(options: argparse.Namespace) -> dict[str, Outcome]:
    """Start everything, measure, print each scenario as it is done, and stop everything."""
    outcomes = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-compare-")))
        program, driver = build_peer(options.go, folder)
        postgres, _ = stack.enter_context(server())
        superuser = postgres.url.replace("ledgerd@/ledgerd", "postgres@/postgres")
        with psycopg.connect(superuser, autocommit=True) as conn:
            conn.execute("CREATE DATABASE peer OWNER ledgerd")
            version = conn.execute("SHOW server_version").fetchone()
        print(f"PostgreSQL {version[0] if version else '?'}; the peer with {driver}; filling", file=sys.stderr)
        theirs = stack.enter_context(peer(program, postgres.url.replace("@/ledgerd", "@/peer"), options.count))
        settings = {"LEDGERD_LOG_LEVEL": options.log_level}
        ours = stack.enter_context(ledgerd(postgres.url, folder / "ledgerd", options.count, **settings))
        print(f"{'scenario':13} {'ledgerd/s':>10} {'Go/s':>8} {'ratio':>6}  lowest to highest  {'p99 ms':>8} {'Go':>8} failed")
        for name in options.scenarios:
            outcomes[name] = found = run(SCENARIOS[name], ours, theirs, options)
            spread = f"{found.lowest:.2f} to {found.highest:.2f}"
            print(
                f"{name:13} {found.ledgerd.per_s:10,.0f} {found.go.per_s:8,.0f} {found.ratio:6.2f}  {spread:18}"
                f" {found.ledgerd.p99_ms:8.1f} {found.go.p99_ms:8.1f} {found.ledgerd.failed}, Go {found.go.failed}",
                flush=True,
            )
    return outcomes


def main() -> int:
    """See the module."""
    options = arguments()
    if missing := wrk.is_missing():
        print(missing, file=sys.stderr)
        return 2
    busy = os.getloadavg()[0]
    if busy > 1:
        print(f"other work keeps {busy:.1f} cores busy here: trust the ratios more than the rates", file=sys.stderr)
    try:
        outcomes = compare(options)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps({name: asdict(found) for name, found in outcomes.items()}, indent=2) + "\n")
    low = {name: bound for name, bound in options.bounds.items() if name in outcomes and outcomes[name].ratio < bound}
    for name, bound in low.items():
        print(f"{name}: a ratio of {outcomes[name].ratio:.2f} is below its bound of {bound}", file=sys.stderr)
    return int(bool(low) or any(found.ledgerd.failed for found in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
