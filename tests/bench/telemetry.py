"""What telemetry costs: transfers a second with it and without, in turns in one run, and what a line, a count or an id takes.

    python -m tests.bench.telemetry [--seconds 2] [--pairs 20] [--micro]

With: a log line a request, into a pipe that is read, metrics, and a traceparent with each request. Without:
LEDGERD_LOG_LEVEL=warning, LEDGERD_METRICS=off, no traceparent. Both servers run at once on one database, each with as many
workers as there are cores, and are loaded in turns. It needs wrk (Debian: `apt install wrk`); `--micro` measures the single
costs alone.
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
from statistics import median, quantiles
from typing import Any

from service.ledger.posting import BatchReport
from service.ledger.transfers import Posted
from service.middleware.access_log import access_log
from service.middleware.answer_headers import answer_headers
from service.middleware.environ import ROUTE
from service.middleware.observation import observation
from service.middleware.tracing import tracing
from service.telemetry.gathered import Gathered
from service.telemetry.metrics import Metrics
from service.telemetry.output import Output
from service.telemetry.request_log import request_logger
from tests.bench.posting import server
from tests.client import HttpClient
from tests.serving import LEDGERD, clean_env, free_port, http_status, wait_until
from tests.unit.lanes import move

CONNECTIONS = 64
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
def served(database_url: str, folder: Path, settings: dict[str, str]) -> Iterator[list[str]]:
    """A server on that database whose standard error goes through a pipe to a reader; the load on it, a command for wrk."""
    port = free_port()
    env = clean_env(
        DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(folder), LEDGERD_RUN_DIR=str(folder), LEDGERD_DB_MAX_OPEN="10",
        LEDGERD_BIND=f"127.0.0.1:{port}", **settings,
    )
    with (
        subprocess.Popen([*LEDGERD, "serve"], env=env, stderr=subprocess.PIPE) as process,
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL) as reader,
    ):
        try:
            wait_until(lambda: http_status(f"http://127.0.0.1:{port}/readyz") == 200, 60)
            create = [*LEDGERD, "key", "create", "--ledger", "main", "--scopes", "admin"]
            key = subprocess.run(create, env=env, capture_output=True, text=True, check=True).stdout.strip()
            yield load(port, key, folder, settings)
        finally:
            process.terminate()
            process.wait(60)
            reader.wait(10)


def load(port: int, key: str, folder: Path, settings: dict[str, str]) -> list[str]:
    """Transfers between two accounts that are made here."""
    client = HttpClient(port, key)
    account = {"asset": "USD/2", "min_balance": None}
    source, target = (client.call("POST", "/api/accounts", account).json["id"] for _ in range(2))
    client.close()
    trace = f'wrk.headers["traceparent"] = "{TRACEPARENT}"' if settings is WITH else ""
    script = folder / "post.lua"
    script.write_text(SCRIPT.format(key=key, trace=trace, source=source, target=target))
    return ["wrk", "-t1", f"-c{CONNECTIONS}", "-s", str(script), f"http://127.0.0.1:{port}/api/transfers"]


def rate(load: list[str], seconds: int) -> float:
    """Transfers a second under `load`."""
    out = subprocess.run([*load, f"-d{seconds}s"], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in out, out
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    assert found is not None, out
    return float(found[1])


def side_by_side(pairs: int, seconds: int) -> None:
    """Both servers stand beside each other and take turns, so that a machine that changes its pace does so for both."""
    with server() as (postgres, _), tempfile.TemporaryDirectory(prefix="ledgerd-bench-") as name:
        folders = [Path(name, side) for side in ("with", "without")]
        for folder in folders:
            folder.mkdir()
        with served(postgres.url, folders[0], WITH) as on, served(postgres.url, folders[1], WITHOUT) as off:
            for warm in (on, off):
                rate(warm, 5)
            figures = []
            for number in range(pairs):
                print(f"\rpair {number + 1} of {pairs}", end="", file=sys.stderr)
                first, second = (on, off) if number % 2 else (off, on)
                one, other = rate(first, seconds), rate(second, seconds)
                figures.append((one, other) if first is on else (other, one))
            print(file=sys.stderr)
    ratios = [mine / bare for mine, bare in figures]
    print(f"with telemetry     {median(mine for mine, _ in figures):8.0f} transfers/s")
    print(f"without            {median(bare for _, bare in figures):8.0f} transfers/s")
    low, _, high = quantiles(ratios, n=4)
    print(f"ratio              {median(ratios):8.3f}   (median of {pairs} pairs; half of them {low:.3f} to {high:.3f})")


def micro() -> None:
    """Microseconds of each part, the best of five runs."""
    output = Output(os.open(os.devnull, os.O_WRONLY))
    log, metrics = access_log(request_logger("info", Gathered(output))), Metrics({})
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
    request = move()
    post, batch = metrics.counting(lambda _ctx, _request: outcome), BatchReport([request] * 16, [0.001] * 16, 0.0, 0.01)
    within = answer_headers(bare)
    watched, traced = (answer_headers(layer(bare)) for layer in (observation(lambda: None, []), tracing()))
    parts: dict[str, Callable[[], object]] = {
        "a log line, gathered, into /dev/null": lambda: log(environ, 201, 0.0018, 300),
        "the metrics of a request": count,
        "the metrics of a transfer": lambda: post(None, request),  # type: ignore[arg-type]  # the context is not looked at
        "the metrics of a batch of 16": lambda: metrics.batch_ended(batch),
        "middleware: measuring": lambda: watched(environ, started),
        "middleware: tracing": lambda: traced(environ, started),
    }
    idle = per_call(lambda: within(environ, started))
    for name, part in parts.items():
        print(f"{name:36} {per_call(part) - (idle if 'middleware' in name else 0):6.2f} µs")
    output.close()


def per_call(part: Callable[[], object], number: int = 20_000) -> float:
    """Microseconds a call, the best of five runs."""
    return min(timeit.repeat(part, number=number, repeat=5)) / number * 1e6


def main() -> int:
    """Print the medians and the ratio, and the single costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (default 2)")
    parser.add_argument("--pairs", type=int, default=20, help="measurements of each (default 20)")
    parser.add_argument("--micro", action="store_true", help="the single costs alone")
    options = parser.parse_args()
    micro()
    if options.micro:
        return 0
    if shutil.which("wrk") is None:
        print("transfers are not measured: that needs wrk (Debian: apt install wrk)", file=sys.stderr)
        return 0
    side_by_side(options.pairs, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
