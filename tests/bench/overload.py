"""Offer several times what ledgerd can do, and see what it does then.

    python -m tests.bench.overload [--times 1 2 5] [--seconds 10] [--goodput 0.9] [--refusal-ms 10] [--json FILE]

First its capacity is measured: the most transfers a second with as many clients as are best, each waiting for its answer.
Then transfers are offered at multiples of it, at fixed times on many connections, whether those before are answered or
not; at last at half of it, to see that it has recovered. Printed are what was offered, done and refused (429 or 503),
what else went wrong, and how long answers took, from sending to answer. At the greatest multiple it must still do
--goodput of its capacity, 99 % of its refusals must take under --refusal-ms, and nothing may fail otherwise. `ledgerd
verify` looks at the books afterwards.

The load is made by tests/bench/openloop, a small Go program that is compiled for it. Where there are several cores,
ledgerd and PostgreSQL have the first, and the load has the others: else it would be measured how much of the machine is
left by the load. --cores 0 gives everything to everybody. With --database-ms the database is far away, and with a short
--queue it is the capacity, not the machine. With --limit the capacity is not the machine's: the key may send so many a
second, and one client sends more. --queue and --workers set LEDGERD_POSTING_QUEUE and LEDGERD_WORKERS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.compare.programs import BuildError, Program, find_go, ledgerd
from tests.bench.posting import server
from tests.client import HttpClient
from tests.proxy import Proxy

SOURCE = Path(__file__).with_name("openloop")
CLIENTS = (4, 16, 64, 128, 256)
REFUSALS = ("429", "503")


@dataclass(frozen=True)
class Seen:
    """A stretch of load: rates a second, and milliseconds from sending to answer."""

    offered: float
    done: float
    refused: float
    failed: int
    done_p50_ms: float
    done_p99_ms: float
    refused_p50_ms: float
    refused_p99_ms: float


class Load:
    """The compiled generator, and the cores that it may use."""

    def __init__(self, program: Path, target: Program, key: str, cores: set[int]) -> None:
        first, last = target.environment["ACCOUNTS"].split("-")
        self._command = [str(program), "-address", f"127.0.0.1:{target.port}", "-key", key]
        self._command += ["-first", first, "-last", last]
        self._pin = partial(os.sched_setaffinity, 0, cores)

    def run(self, *, rate: float, connections: int, seconds: float) -> Seen:
        """Offer that rate, or with 0 as much as is answered. Raises CalledProcessError."""
        command = [*self._command, "-rate", str(rate), "-connections", str(connections), "-seconds", str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=self._pin)
        return read(json.loads(done.stdout), rate)


def read(found: dict[str, Any], rate: float) -> Seen:
    """What the generator printed."""
    by_status, seconds = found["by_status"], found["seconds"]
    none = {"number": 0, "p50_ms": 0.0, "p99_ms": 0.0}
    good = by_status.get("201", none)
    refusals = [by_status[status] for status in REFUSALS if status in by_status]
    refused = max(refusals, key=lambda one: one["number"], default=none)
    number = sum(one["number"] for one in refusals)
    answered = sum(one["number"] for one in by_status.values())
    return Seen(
        offered=rate or answered / seconds, done=good["number"] / seconds, refused=number / seconds,
        failed=answered - good["number"] - number + found["lost"],
        done_p50_ms=good["p50_ms"], done_p99_ms=good["p99_ms"],
        refused_p50_ms=refused["p50_ms"], refused_p99_ms=refused["p99_ms"],
    )


def judge(capacity: float, last: Seen, options: argparse.Namespace) -> list[str]:
    """A sentence for each bound that was not kept."""
    found = []
    if last.done < options.goodput * capacity:
        share = last.done / capacity
        found.append(f"{last.done:.0f} a second were done, {share:.0%} of the capacity, not {options.goodput:.0%}")
    if last.refused_p99_ms >= options.refusal_ms:
        found.append(f"99 % of the refusals took up to {last.refused_p99_ms:.1f} ms, not under {options.refusal_ms:g}")
    if last.failed:
        found.append(f"{last.failed} requests were neither done nor refused")
    return found


def line(name: str, seen: Seen, capacity: float) -> str:
    """For the table."""
    return (
        f"{name:>14} {seen.offered:9,.0f} {seen.done:8,.0f} {seen.done / capacity:6.0%} {seen.done_p50_ms:7.1f}"
        f" {seen.done_p99_ms:8.1f}"
        f" {seen.refused:10,.0f} {seen.refused_p50_ms:7.1f} {seen.refused_p99_ms:8.1f} {seen.failed:7}"
    )


def measure(load: Load, options: argparse.Namespace) -> tuple[float, dict[str, Seen]]:
    """The capacity, and what was seen at each multiple of it."""
    found: dict[str, Seen] = {}
    for clients in () if options.limit else CLIENTS:
        found[f"{clients} clients"] = load.run(rate=0, connections=clients, seconds=options.seconds)
    capacity = options.limit or max(seen.done for seen in found.values())
    for times in (*options.times, 0.5):
        connections = max(64, round(options.connections * times / max(options.times)))
        found[f"{times:g} times"] = load.run(rate=times * capacity, connections=connections, seconds=options.seconds)
    return capacity, found


def limited_key(target: Program, per_s: int) -> str:
    """A key of that ledger with a rate of its own."""
    with closing(HttpClient(target.port, target.environment["KEY"])) as admin:
        asked = {"scopes": ["transfers:write"], "name": "overload", "rate_per_s": per_s}
        reply = admin.call("POST", "/api/keys", asked)
        assert reply.status == 201, reply.body
        return str(reply.json["key"])


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, nargs="+", default=[1, 2, 5], help="multiples of the capacity (default 1 2 5)")
    parser.add_argument("--seconds", type=float, default=10, help="of each stretch (default 10)")
    parser.add_argument("--connections", type=int, default=4_000, help="at the greatest multiple (default 4,000)")
    parser.add_argument("--count", type=int, default=1_000, help="accounts (default 1,000)")
    parser.add_argument("--goodput", type=float, default=0.9, help="the least share of the capacity (default 0.9)")
    parser.add_argument("--refusal-ms", type=float, default=10, help="within which 99 %% are refused (default 10)")
    parser.add_argument("--limit", type=int, help="the rate a second of the key in use, which then is the capacity")
    parser.add_argument("--database-ms", type=float, help="how much longer each round trip to PostgreSQL takes")
    parser.add_argument("--queue", type=int, help="LEDGERD_POSTING_QUEUE")
    parser.add_argument("--workers", type=int, help="LEDGERD_WORKERS (default: the cores that ledgerd has)")
    parser.add_argument("--cores", type=int, default=1, help="for ledgerd and PostgreSQL alone; 0: all share all (default 1)")
    parser.add_argument("--go", help="the Go compiler (default: where it is usually found)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    apart = 0 < options.cores < len(cores)
    settings = {"LEDGERD_LOG_LEVEL": "warning"}
    settings |= {"LEDGERD_POSTING_QUEUE": str(options.queue)} if options.queue else {}
    settings |= {"LEDGERD_WORKERS": str(options.workers)} if options.workers else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-overload-")))
        try:
            subprocess.run([find_go(options.go), "build", "-o", folder / "openloop", "."], cwd=SOURCE, check=True)
        except BuildError as error:
            print(error, file=sys.stderr)
            return 2
        if apart:
            os.sched_setaffinity(0, cores[: options.cores])  # the children's too
        postgres, _ = stack.enter_context(server())
        proxy = stack.enter_context(Proxy(postgres.url)) if options.database_ms else None
        url = proxy.url if proxy else postgres.url
        target = stack.enter_context(ledgerd(url, folder / "ledgerd", options.count, **settings))
        key = limited_key(target, options.limit) if options.limit else target.environment["KEY"]
        load = Load(folder / "openloop", target, key, set(cores[options.cores :] if apart else cores))
        if proxy:
            proxy.latency_s = options.database_ms / 2000  # each way
        capacity, found = measure(load, options)
        if proxy:
            proxy.latency_s = 0
    print(f"{'':14} offered/s   done/s  of it  p50 ms   p99 ms  refused/s  p50 ms   p99 ms  failed")
    for name, seen in found.items():
        print(line(name, seen, capacity))
    if options.json:
        figures = {name: asdict(seen) for name, seen in found.items()}
        options.json.write_text(json.dumps({"capacity": capacity, "seen": figures}, indent=2) + "\n")
    broken = judge(capacity, found[f"{max(options.times):g} times"], options)
    print("\n".join(broken) or "all bounds were kept")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
