"""Where the time of a worker goes, under load: a flame graph, and a table by function. `make profile` calls it.

    python -m tests.bench.profile [SCENARIO] [--seconds 10] [--rate 250] [--native] [--out build/profile]

It starts a PostgreSQL of its own and `ledgerd serve`, makes users and accounts, loads them with wrk as `make compare` does
(its scenarios, without the peer), and lets py-spy look at one worker meanwhile: so many times a second it reads that process's
stack from outside, which costs the worker next to nothing. SCENARIO.svg is the flame graph, to be opened in a browser (wide:
much time; a click enlarges); SCENARIO.txt has the stacks, one a line with how often it was seen; the table is printed.

The waits of a worker are not in it, only what it does. --native shows C functions as well. Needed: wrk, and py-spy, which
`make profile` installs; it must be allowed to look at other processes (root, or kernel.yama.ptrace_scope=0).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.compare import wrk
from tests.bench.compare.programs import ledgerd
from tests.bench.compare.scenarios import SCENARIOS
from tests.bench.posting import server

SHOWN = 30
SETTLE_S = 2  # of load before anything is recorded
_LINE = re.compile(r":\d+\)$")


def by_function(stacks: str) -> tuple[int, list[tuple[str, int, int]]]:
    """Of `frame;frame;frame COUNT` lines: all samples, and by function those where it ran itself and those where it was on
    the stack, the busiest first."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        frames = [_LINE.sub(")", frame) for frame in stack.split(";")]
        own[frames[-1]] += int(number)
        for frame in set(frames):
            within[frame] += int(number)
    found = [(name, own[name], total) for name, total in within.items()]
    return own.total(), sorted(found, key=lambda one: (-one[1], -one[2]))


def table(stacks: str) -> str:
    """The functions where most time goes."""
    samples, functions = by_function(stacks)
    lines = [f"{'itself':>7} {'with all that it calls':>23}  function, of {samples} samples"]
    lines += [f"{own / samples:7.1%} {total / samples:23.1%}  {name}" for name, own, total in functions[:SHOWN]]
    return "\n".join(lines)


def record(py_spy: str, pid: int, kind: str, out: Path, options: argparse.Namespace) -> None:
    """Look at the process for --seconds. Raises CalledProcessError, with py-spy's own words on standard error."""
    command = [py_spy, "record", "--pid", str(pid), "--duration", str(options.seconds), "--rate", str(options.rate)]
    native = ["--native"] if options.native else []
    subprocess.run([*command, *native, "--format", kind, "--output", out], check=True, stdout=subprocess.DEVNULL)


def profile(py_spy: str, options: argparse.Namespace) -> str:
    """Load, record twice (py-spy writes one format at a time), and return the stacks."""
    scenario = SCENARIOS[options.scenario]
    svg, text = (options.out / f"{options.scenario}.{ending}" for ending in ("svg", "txt"))
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="ledgerd-profile-") as folder,
        server() as (postgres, _),
        ledgerd(postgres.url, Path(folder), options.count, LEDGERD_LOG_LEVEL=options.log_level) as program,
        ThreadPoolExecutor(1) as pool,
    ):
        connections = scenario.connections or options.connections
        warm, loaded = (scenario.environment(program, seed) for seed in (1, 2))
        wrk.measure(program.port, connections=connections, seconds=SETTLE_S, **warm)
        seconds = 2 * (options.seconds + SETTLE_S)
        load = pool.submit(wrk.measure, program.port, connections=connections, seconds=seconds, **loaded)
        record(py_spy, program.workers[0], "raw", text, options)
        record(py_spy, program.workers[0], "flamegraph", svg, options)
        measured, workers = load.result(), len(program.workers)
    print(f"{options.scenario}: {measured.per_s:,.0f}/s by {workers} workers while one was looked at", file=sys.stderr)
    print(f"{svg}\n{text}", file=sys.stderr)
    return text.read_text("utf-8")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="uniform", choices=SCENARIOS, help="the load (default uniform)")
    parser.add_argument("--seconds", type=int, default=10, help="of each of the two recordings (default 10)")
    parser.add_argument("--rate", type=int, default=250, help="samples a second (default 250)")
    parser.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    parser.add_argument("--count", type=int, default=1_000, help="users, and accounts (default 1,000)")
    parser.add_argument("--log-level", default="info", help="of ledgerd (default info)")
    parser.add_argument("--native", action="store_true", help="C functions too")
    parser.add_argument("--out", type=Path, default=Path("build/profile"), help="the folder (default build/profile)")
    parser.add_argument("--py-spy", default="py-spy", help="the program (default: by PATH)")
    options = parser.parse_args()
    py_spy = shutil.which(options.py_spy)
    missing = wrk.is_missing() or (None if py_spy else "this needs py-spy: run `make profile`, or pip install py-spy")
    if missing or py_spy is None:
        print(missing, file=sys.stderr)
        return 2
    print(table(profile(py_spy, options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
