"""Measure bulk requests and imports beside what PostgreSQL itself can do, in one run on one server.

    python -m tests.bench.bulk [--rounds 3] [--lines 1000000] [--seconds 4] [--json FILE]

It starts a PostgreSQL of its own (LEDGERD_POSTGRES_BIN chooses another than the packaged one) with 10,000 accounts, and a
`ledgerd serve` with two workers. Each round measures everything once, and the medians are printed:

- `pgbench -b tpcb-like`, the best of several numbers of clients;
- COPY of the same rows into a table with the same indexes and constraints as `transfers`: alone, and with the update of the
  accounts in the same transaction, which is all that posting writes, without a single rule;
- bulk requests of 10,000 transfers over HTTP, from this process, which encodes them meanwhile: with the request's key and
  without, and from several clients, so that one request is read while another is posted;
- the import of a file over HTTP (sent by curl) and by `ledgerd import`, with the most memory that a worker and the command
  took;
- the 99th percentile of single transfers over HTTP, four clients one after the other each, alone and while an import runs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.bench.export import peak_mib
from tests.bench.posting import ACCOUNTS, open_accounts, server
from tests.client import HttpClient
from tests.serving import LEDGERD, Serve, clean_env

CLIENTS = (4, 8, 16, 32)
IN_A_REQUEST = 10_000
REQUESTS = 5
BULK_CLIENTS = 3
SINGLE_CLIENTS = 4
Figures = dict[str, list[float]]


def pair() -> tuple[int, int]:
    """Two different accounts."""
    source, target = random.sample(range(1, ACCOUNTS + 1), 2)
    return source, target


def transfer() -> dict[str, object]:
    """A random one, as a client sends it."""
    source, target = pair()
    return {"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500), "reference": "order 1001"}


def pgbench(bin_dir: Path, url: str, seconds: float) -> float:
    """Transactions a second of pgbench's own mix, by as many clients as are best."""
    best = 0.0
    for clients in CLIENTS:
        load = ("-b", "tpcb-like", "-c", str(clients), "-M", "prepared", "-T", str(round(seconds)))
        command = [bin_dir / "pgbench", *load, url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"tps = ([\d.]+)", done.stdout)
        assert found is not None, done.stdout
        best = max(best, float(found[1]))
    return best


def copy(conn: psycopg.Connection, rows: int, *, accounts: bool) -> float:
    """Rows a second that COPY writes into a table like `transfers`, perhaps with the update of the accounts."""
    conn.execute("DROP TABLE IF EXISTS copied")
    conn.execute("CREATE TABLE copied (LIKE transfers INCLUDING ALL)")
    made = [pair() for _ in range(rows)]
    columns = (
        "ledger_id, id, from_account_id, to_account_id, amount, from_version, to_version, from_balance, to_balance,"
        " created_at, asset, reference"
    )
    text = "".join(
        f"1\t{n}\t{source}\t{target}\t5\t{n}\t{n}\t-5\t5\t2026-01-01Z\tUSD/2\torder 1001\n"
        for n, (source, target) in enumerate(made)
    ).encode()
    began = time.perf_counter()
    with conn.transaction(), conn.cursor() as cursor:
        if accounts:
            cursor.execute("SELECT FROM accounts WHERE ledger_id = 1 ORDER BY id FOR NO KEY UPDATE")
        with cursor.copy(f"COPY copied ({columns}) FROM STDIN") as into:
            into.write(text)
        if accounts:
            cursor.execute("UPDATE accounts SET updated_at = clock_timestamp() WHERE ledger_id = 1")
    return rows / (time.perf_counter() - began)


def bulk(served: Serve, key: str, requests: int, *, clients: int = 1, keys: bool = True) -> float:
    """Transfers a second in requests of 10,000, by so many clients, each with one after the other."""
    bodies = [{"transfers": [transfer() for _ in range(IN_A_REQUEST)]} for _ in range(requests)]

    def post(number: int) -> None:
        client = HttpClient(served.port, key)
        for body in bodies[number::clients]:
            headers = {"Idempotency_Key": os.urandom(12).hex()} if keys else {}
            reply = client.call("POST", "/api/transfers/bulk", body, **headers)
            assert reply.status == 200, reply.body
            assert reply.body.startswith(b'{"mode":"independent","posted":10000,'), reply.body[:100]
        client.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(post, range(clients)))
    return requests * IN_A_REQUEST / (time.perf_counter() - began)


def write_lines(path: Path, lines: int) -> None:
    """A file to import."""
    with open(path, "w") as file:
        for _ in range(lines):
            file.write(json.dumps(transfer()) + "\n")


def upload(served: Serve, key: str, file: Path) -> subprocess.Popen[str]:
    """An import over HTTP, under way."""
    url = f"http://127.0.0.1:{served.port}/api/transfers/import?name={os.urandom(6).hex()}"
    headers = ["--header", f"Authorization: Bearer {key}", "--header", "Content-Type: application/x-ndjson"]
    command = ["curl", "--silent", "--show-error", "--fail", "--request", "POST", "--upload-file", str(file), *headers, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str], lines: int) -> None:
    """Wait for an import, all of which must have been posted."""
    out, _ = process.communicate()
    assert process.returncode == 0, process.returncode
    assert json.loads(out)["posted"] == lines, out[:200]


def import_by_command(url: str, file: Path, lines: int) -> tuple[float, float]:
    """Lines a second, and the most memory in MiB."""
    command = [*LEDGERD, "import", str(file), "--ledger", "main", "--name", os.urandom(6).hex(), "--json"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=clean_env(DATABASE_URL=url), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, out
    assert json.loads(out)["posted"] == lines, out[:200]
    return lines / (time.perf_counter() - began), used.ru_maxrss / 1024


def p99_ms(served: Serve, key: str, enough: Callable[[], bool]) -> float:
    """Of single transfers by some clients, until it is enough."""
    took: list[float] = []

    def post() -> None:
        client = HttpClient(served.port, key)
        while not enough():
            began = time.perf_counter()
            reply = client.call("POST", "/api/transfers", transfer())
            took.append(time.perf_counter() - began)
            assert reply.status == 201, reply.body
        client.close()

    threads = [threading.Thread(target=post) for _ in range(SINGLE_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1000 * statistics.quantiles(took, n=100)[-1]


def measure(bin_dir: Path, url: str, served: Serve, key: str, options: argparse.Namespace, figures: Figures) -> None:
    """One round."""
    with psycopg.connect(url, autocommit=True) as conn, tempfile.TemporaryDirectory(prefix="ledgerd-bench-") as folder:
        file = Path(folder) / "lines.ndjson"
        write_lines(file, options.lines)
        rows = min(options.lines, 200_000)
        figures["pgbench tpcb-like, best of its clients, /s"].append(pgbench(bin_dir, url, options.seconds))
        figures["COPY, same indexes and constraints, /s"].append(copy(conn, rows, accounts=False))
        figures["COPY, and one update of the accounts, /s"].append(copy(conn, rows, accounts=True))
        conn.execute("DROP TABLE copied")
        figures["bulk over HTTP, no keys, /s"].append(bulk(served, key, options.requests, keys=False))
        figures["bulk over HTTP, /s"].append(bulk(served, key, options.requests))
        figures[f"bulk over HTTP, {BULK_CLIENTS} clients, /s"].append(
            bulk(served, key, options.requests * BULK_CLIENTS, clients=BULK_CLIENTS)
        )
        end = time.monotonic() + options.seconds
        figures["p99 of single transfers, ms"].append(p99_ms(served, key, lambda: time.monotonic() > end))
        began = time.perf_counter()
        finished(upload(served, key, file), options.lines)
        figures["import over HTTP, lines/s"].append(options.lines / (time.perf_counter() - began))
        figures["import over HTTP, most memory of a worker, MiB"].append(max(map(peak_mib, served.workers())))
        rate, peak = import_by_command(url, file, options.lines)
        figures["ledgerd import, lines/s"].append(rate)
        figures["ledgerd import, most memory, MiB"].append(peak)
        process = upload(served, key, file)
        figures["p99 of single transfers while an import runs, ms"].append(
            p99_ms(served, key, lambda: process.poll() is not None)
        )
        finished(process, options.lines)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the file that is imported, three times a round")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="bulk requests a figure")
    parser.add_argument("--seconds", type=float, default=4, help="of each run of pgbench, and of single transfers alone")
    parser.add_argument("--json", type=Path, help="also write the medians here")
    options = parser.parse_args()
    figures: Figures = defaultdict(list)
    with server() as (postgres, bin_dir), tempfile.TemporaryDirectory(prefix="ledgerd-bench-") as folder:
        migrate(postgres.url, sql_folder(), lambda _: None)
        subprocess.run([bin_dir / "pgbench", "-i", "-q", "-s", "10", postgres.url], capture_output=True, check=True)
        settings = {"DATABASE_URL": postgres.url, "LEDGERD_WORKERS": "2", "LEDGERD_LOG_LEVEL": "warning"}
        with Serve(Path(folder), **settings) as served:
            key = served.wait_ready().key()
            with psycopg.connect(postgres.url, autocommit=True) as conn:
                open_accounts(conn)
            for number in range(options.rounds):
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
                measure(bin_dir, postgres.url, served, key, options, figures)
    medians = {name: round(statistics.median(values), 1) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name:52} {value:12,.1f}")
    if options.json:
        options.json.write_text(json.dumps(medians, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
