"""wrk, the load generator: one run of it with `load.lua`, and what it measured."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")
IN_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Measured:
    """What one run found; `failed` counts answers that were neither 2xx nor 3xx, and requests without an answer."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    requests: int = 0


def is_missing() -> str | None:
    """What to install, where wrk is not there."""
    return None if shutil.which("wrk") else "this needs wrk, the load generator; on Debian: apt install wrk"


def measure(port: int, *, connections: int, seconds: float, **environment: str) -> Measured:
    """Load that port of this host from one thread. Raises CalledProcessError when wrk does not run."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", SCRIPT]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )
    return read(done.stdout)


def read(out: str) -> Measured:
    """The figures in what wrk prints."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert rate is not None, out
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    failed = int(bad[1]) if bad else 0
    failed += sum(map(int, lost.groups())) if lost else 0
    total = re.search(r"^\s+(\d+) requests in ", out, re.MULTILINE)
    return Measured(float(rate[1]), _percentile(out, 50), _percentile(out, 99), failed, int(total[1]) if total else 0)


def _percentile(out: str, which: int) -> float:
    found = re.search(rf"^\s+{which}%\s+([\d.]+)(us|ms|s|m)$", out, re.MULTILINE)
    assert found is not None, out
    return float(found[1]) * IN_MS[found[2]]
