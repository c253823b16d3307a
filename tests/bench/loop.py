"""The request loop beside gunicorn's own gevent worker, in turns in one run, on an application that does nothing.

    python -m tests.bench.loop [--seconds 4] [--rounds 5] [--connections 64]

It needs wrk (Debian: `apt install wrk`). Both serve with as many workers as there are cores, which wrk shares with them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from tests.loop.conftest import GUNICORNS, OURS, served

BODY = b'{"id":1,"name":"Ada","email":"ada@example.com"}'


def application(_: dict[str, Any], start: Any) -> list[bytes]:
    """A short answer, at once."""
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def measure(worker: str, options: argparse.Namespace) -> tuple[float, float]:
    """Requests a second and the 99th percentile in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, served(
        worker, Path(folder, "log"), "--workers", str(os.cpu_count()), application="tests.bench.loop:application"
    ) as server:
        out = subprocess.run(
            ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency",
             "-H", "Authorization: Bearer ldg_0123456789abcdef_0123456789abcdef", f"http://127.0.0.1:{server.port}/api/users/1"],
            capture_output=True, text=True, check=True,
        ).stdout
    assert "Non-2xx" not in out, out
    assert "Socket errors" not in out, out
    rate, p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\n(?s:.*)Requests/sec:\s+([\d.]+)", out).group(3, 1, 2)  # type: ignore[union-attr]
    return float(rate), float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main() -> int:
    """Print the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("the request loop is not measured: that needs wrk (Debian: apt install wrk)", file=sys.stderr)
        return 0
    pairs = [(measure(OURS, options), measure(GUNICORNS, options)) for _ in range(options.rounds)]
    ours, theirs = (median(pair[side][0] for pair in pairs) for side in (0, 1))
    print(f"ours        {ours:8.0f}/s  p99 {median(pair[0][1] for pair in pairs):7.1f} ms")
    print(f"gunicorn's  {theirs:8.0f}/s  p99 {median(pair[1][1] for pair in pairs):7.1f} ms")
    print(f"ratio       {median(mine[0] / other[0] for mine, other in pairs):8.2f}   (median of {options.rounds} pairs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
