"""Export a large ledger from a real server into nothing: transfers a second, and how much memory its worker takes.

    python -m tests.bench.export [--rows 10000000] [--accounts 100000] [--json FILE]

It starts a PostgreSQL of its own and fills it, and a `ledgerd serve` with one worker; curl takes the export. The worker's peak
is read before, when it has exported a single account, and afterwards. `python -m tests.bench.reads --export` does the same
with the ledger that it has measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.bench.posting import server
from tests.big_ledger import LEDGER, fill
from tests.serving import Serve

LONGEST_S = 3600


@dataclass(frozen=True)
class Exported:
    """What an export took."""

    rows: int
    sent_mib: float
    seconds: float
    peak_before_mib: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"exported {self.rows:,} transfers, {self.sent_mib:,.0f} MiB in {self.seconds:.0f} s:"
            f" {self.rows / self.seconds:,.0f}/s;"
            f" the worker's peak {self.peak_before_mib:.0f} MiB before, {self.peak_mib:.0f} MiB afterwards"
        )


def export(database_url: str) -> Exported:
    """All transfers of the ledger that `fill` has made there. Raises CalledProcessError when the answer is not whole."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-bench-"))
    settings = {"DATABASE_URL": database_url, "LEDGERD_WORKERS": "1", "LEDGERD_LOG_LEVEL": "warning"}
    try:
        with psycopg.connect(database_url) as conn, Serve(folder, **settings) as served:
            row = conn.execute("SELECT count(*) FROM transfers").fetchone()
            assert row is not None
            key = served.wait_ready().key(ledger=LEDGER)
            [worker] = served.workers()
            _take(served.port, key, "?account_id=1")
            before = _peak_mib(worker)
            sent, seconds = _take(served.port, key, "")
            return Exported(row[0], sent / 2**20, seconds, before, _peak_mib(worker))
    finally:
        shutil.rmtree(folder)


def _take(port: int, key: str, query: str) -> tuple[int, float]:
    """How many bytes came, in how many seconds."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", str(LONGEST_S), "--output", "/dev/null",
         "--write-out", "%{size_download} %{time_total}", "--header", f"Authorization: Bearer {key}",
         f"http://127.0.0.1:{port}/api/transfers/export{query}"],
        stdout=subprocess.PIPE, text=True, check=True,
    )
    size, seconds = done.stdout.split()
    return int(size), float(seconds)


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def main() -> int:
    """Fill, export, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="transfers in the ledger")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    with server() as (postgres, _):
        migrate(postgres.url, sql_folder(), lambda _: None)
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            fill(conn, transfers=options.rows, accounts=options.accounts)
        exported = export(postgres.url)
    print(exported)
    if options.json:
        options.json.write_text(json.dumps(asdict(exported), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
