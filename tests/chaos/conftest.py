"""Servers to break, what their clients were told, and the table of what the faults did."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.repository.embedded import EmbeddedPostgres
from tests.acceptance.test_posting import open_accounts
from tests.chaos.figures import HEAD, Figures
from tests.chaos.load import Load, Told
from tests.client import HttpClient
from tests.serving import Serve, descendants, is_there, wait_until

WORKERS = 2
MOST_OPEN = 6  # connections of a worker
SETTINGS = {
    "LEDGERD_WORKERS": str(WORKERS), "LEDGERD_DB_MAX_OPEN": str(MOST_OPEN), "LEDGERD_DB_MIN_IDLE": "2",
    "LEDGERD_LOG_LEVEL": "error",
}
FULL = os.environ.get("LEDGERD_CHAOS") == "full"


@dataclass
class Ledger:
    """A serving ledgerd under test: its database, as the test reaches it, and what its clients know."""

    server: Serve
    database_url: str
    token: str
    accounts: list[int]
    told: Told

    def load(self, **options: Any) -> Load:
        """Clients for a `with` statement."""
        return Load(self.server.port, self.token, self.accounts, self.told, **options)

    def check(self, load: Load) -> Figures:
        """Assert that the books hold what was told, and that no worker has lost a connection of its pool."""
        self.told.check(self.database_url)
        usable = usable_connections(self)
        assert usable == WORKERS * MOST_OPEN
        return replace(load.figures(), connections=f"{usable} of {WORKERS * MOST_OPEN}")


def open_ledger(server: Serve, database_url: str) -> Ledger:
    """A key and 20 accounts with funds."""
    token = server.wait_ready().key()
    setup = HttpClient(server.port, token)
    accounts = open_accounts(setup, 20)
    setup.close()
    return Ledger(server, database_url, token, accounts, Told(funding=len(accounts) - 1))


def usable_connections(ledger: Ledger) -> int:
    """How many statements the workers can have at the database at once: reads that wait for a lock, more and more of them."""
    running = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE d.datname = current_database()"
    running += " AND relation = 'users'::regclass AND NOT granted"
    readers: list[threading.Thread] = []

    def read() -> None:
        client = HttpClient(ledger.server.port, ledger.token)
        client.call("GET", "/api/users?limit=1", Request_Timeout="20")  # a single one may be kept by the worker
        client.close()

    def saturated() -> bool:
        count = look.execute(running).fetchone()[0]
        if count < WORKERS * MOST_OPEN and len(readers) < 200:
            fresh = [threading.Thread(target=read) for _ in range(8)]
            readers.extend(fresh)
            for reader in fresh:
                reader.start()
        return count >= WORKERS * MOST_OPEN

    with psycopg.connect(ledger.database_url) as holder, psycopg.connect(ledger.database_url, autocommit=True) as look:
        holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        try:
            wait_until(saturated, 60)
            return int(look.execute(running).fetchone()[0])
        finally:
            holder.rollback()
            for reader in readers:
                reader.join(30)


@pytest.fixture(scope="module")
def embedded_ledger() -> Iterator[Ledger]:
    """`ledgerd serve` with a PostgreSQL of its own, for all tests of a file; no process is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's system user must be able to enter
    with Serve(folder, **SETTINGS) as server:
        ledger = open_ledger(server, EmbeddedPostgres(folder).url)
        yield ledger
        below = descendants(ledger.server.process.pid)
        assert ledger.server.stop() == 0
        wait_until(lambda: not any(map(is_there, below)), 10)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def table() -> Iterator[Callable[[str, Figures], None]]:
    """Takes a line for the table that is printed at the end."""
    lines = [HEAD]
    yield lambda name, figures: lines.append(figures.row(name))
    print("\n" + "\n".join(lines))
