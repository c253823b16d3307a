"""What telemetry costs: transfers a second with it and without, in turns in one run, and what a line, a count or an id takes.

    python -m tests.bench.telemetry [--seconds 5] [--rounds 5] [--connections 64] [--micro]

With: a log line a request, into a pipe that is read, metrics, and a traceparent with each request. Without:
LEDGERD_LOG_LEVEL=warning, LEDGERD_METRICS=off, no traceparent. Both serve the same database, with as many workers as there are
cores. It needs wrk (Debian: `apt install wrk`); `--micro` measures the single costs alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from service.ledger.posting import BatchReport
from service.ledger.transfers import Posted
from service.middleware.access_log import access_log
from service.middleware.environ import ROUTE
from service.middleware.observation import observation
from service.middleware.tracing import tracing
from service.telemetry.metrics import Metrics
from service.telemetry.output import Output
from service.telemetry.request_log import request_logger
from tests.client import HttpClient
from tests.serving import LEDGERD, clean_env, free_port, http_status, wait_until
from tests.unit.lanes import move

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WITH = {"LEDGERD_LOG_LEVEL": "info", "LEDGERD_METRICS": "on"}
WITHOUT = {"LEDGERD_LOG_LEVEL": "warning", "LEDGERD_METRICS": "off"}
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
{trace}
wrk.body = '{{"from_account_id": {source}, "to_account_id": {target}, "amount": 1}}'
"""


@contextmanager
def served(folder: Path, settings: dict[str, str]) -> Iterator[int]:
    """A server on the data in `folder`, whose standard error goes through a pipe to a reader; its port."""
    port = free_port()
    env = clean_env(LEDGERD_DATA_DIR=str(folder), LEDGERD_BIND=f"127.0.0.1:{port}", LEDGERD_DB_MAX_OPEN="10", **settings)
    with (
        subprocess.Popen([*LEDGERD, "serve"], env=env, stderr=subprocess.PIPE) as process,
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL) as reader,
    ):
        try:
            wait_until(lambda: http_status(f"http://127.0.0.1:{port}/readyz") == 200, 60)
            yield port
        finally:
            process.terminate()
            process.wait(60)
            reader.wait(10)


def measure(folder: Path, settings: dict[str, str], options: argparse.Namespace) -> float:
    """Transfers a second."""
    with served(folder, settings) as port:
        key = (folder / "admin.key").read_text().strip()
        client = HttpClient(port, key)
        account = {"asset": "USD/2", "min_balance": None}
        source, target = (client.call("POST", "/api/accounts", account).json["id"] for _ in range(2))
        client.close()
        trace = f'wrk.headers["traceparent"] = "{TRACEPARENT}"' if settings is WITH else ""
        script = folder / "post.lua"
        script.write_text(SCRIPT.format(key=key, trace=trace, source=source, target=target))
        load = ["wrk", "-t1", f"-c{options.connections}", "-s", str(script), f"http://127.0.0.1:{port}/api/transfers"]
        subprocess.run([*load, "-d1s"], capture_output=True, check=True)  # connections, plans and caches are made
        out = subprocess.run([*load, f"-d{options.seconds}s"], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found is not None, out
    return float(found[1])


def micro() -> None:
    """Microseconds of each part, the best of five runs."""
    output = Output(os.open(os.devnull, os.O_WRONLY))
    log, metrics = access_log(request_logger("info", output)), Metrics({})
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/transfers", "REMOTE_ADDR": "127.0.0.1", "CONTENT_LENGTH": "60",
        ROUTE: "/api/transfers", "HTTP_TRACEPARENT": TRACEPARENT,
    }

    def bare(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("201 Created", [])
        return [b"x"]

    def started(_status: str, _headers: list[Any], _exc_info: Any = None) -> Any:
        return None

    def count() -> None:
        metrics.request_began()
        metrics.request_ended(environ, 201, 0.0018, 300)

    outcome = Posted(None, False, 1)  # type: ignore[arg-type]  # only that it was posted is looked at
    post, batch = metrics.counting(lambda _ctx, _request: outcome), BatchReport([move()] * 16, [0.001] * 16, 0.0, 0.01)
    watched, traced = observation(lambda: None, [])(bare), tracing()(bare)
    parts: dict[str, Callable[[], object]] = {
        "a log line, into /dev/null": lambda: log(environ, 201, 0.0018, 300),
        "the metrics of a request": count,
        "the metrics of a transfer": lambda: post(None, None),  # type: ignore[arg-type]  # as above
        "the metrics of a batch of 16": lambda: metrics.batch_ended(batch),
        "middleware: measuring": lambda: watched(environ, started),
        "middleware: tracing": lambda: traced(environ, started),
    }
    idle = per_call(lambda: bare(environ, started))
    for name, part in parts.items():
        print(f"{name:32} {per_call(part) - (idle if 'middleware' in name else 0):6.2f} µs")
    output.close()


def per_call(part: Callable[[], object], number: int = 20_000) -> float:
    """Microseconds a call, the best of five runs."""
    return min(timeit.repeat(part, number=number, repeat=5)) / number * 1e6


def main() -> int:
    """Print the medians and the ratio, and the single costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    parser.add_argument("--connections", type=int, default=64, help="of the load (default 64)")
    parser.add_argument("--micro", action="store_true", help="the single costs alone")
    options = parser.parse_args()
    micro()
    if options.micro:
        return 0
    if shutil.which("wrk") is None:
        print("transfers are not measured: that needs wrk (Debian: apt install wrk)", file=sys.stderr)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-bench-"))
    folder.chmod(0o755)
    try:
        pairs = []
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            order = (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH)
            figures = {id(settings): measure(folder, settings, options) for settings in order}
            pairs.append((figures[id(WITH)], figures[id(WITHOUT)]))
    finally:
        shutil.rmtree(folder)
    on, off = (median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"with telemetry     {on:8.0f} transfers/s")
    print(f"without            {off:8.0f} transfers/s")
    print(f"ratio              {median(mine / bare for mine, bare in pairs):8.2f}   (median of {options.rounds} pairs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
