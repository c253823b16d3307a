"""A PostgreSQL with a filled ledger for each number of accounts, of which copies are served and thrown away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from service.repository.embedded import EmbeddedPostgres
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.bench.compare.programs import Program
from tests.bench.growth.filling import USERS, Tell, fill
from tests.bench.growth.sizes import OF_A_TRANSFER, OF_AN_ACCOUNT, per_row
from tests.big_ledger import LEDGER
from tests.serving import Serve

COPIED = "copied"


class Cluster:
    """Runs in a `with` block, in `folder`, which keeps it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._folder.chmod(0o755)
        bin_dir = os.environ.get("LEDGERD_POSTGRES_BIN")
        self._postgres = EmbeddedPostgres(self._folder, bin_dir=Path(bin_dir) if bin_dir else None)

    def __enter__(self) -> Cluster:
        self._postgres.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._postgres.stop()

    def url(self, database: str, role: str = "ledgerd") -> str:
        """The address of a database."""
        return self._postgres.url.replace("ledgerd@/ledgerd", f"{role}@/{database}")

    def execute(self, *statements: str) -> None:
        """As superuser, each on its own."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    def fill(self, accounts: int, transfers: int, tell: Tell) -> int:
        """The ledger with that number of accounts has at least so many transfers then: how many."""
        name = f"ledger_{accounts}"
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchall():
                conn.execute(f"CREATE DATABASE {name} OWNER ledgerd")
        migrate(self.url(name), sql_folder(), lambda _: None)
        with psycopg.connect(self.url(name), autocommit=True) as conn:
            return fill(conn, self.url(name), accounts=accounts, transfers=transfers, tell=tell)

    @contextmanager
    def served_copy(self, accounts: int, *, verify: bool, **settings: str) -> Iterator[Program]:
        """`ledgerd serve` on a copy of that ledger, which may be changed; with `verify` it is examined afterwards."""
        drop = f"DROP DATABASE IF EXISTS {COPIED} WITH (FORCE)"
        copy = f"CREATE DATABASE {COPIED} TEMPLATE ledger_{accounts} OWNER ledgerd STRATEGY file_copy"
        self.execute(drop, copy, "CHECKPOINT")
        settings = {"DATABASE_URL": self.url(COPIED), "LEDGERD_LOG_LEVEL": "warning", **settings}
        try:
            with Serve(self._folder / "served", **settings) as served:
                served.wait_ready()
                key = served.key("admin", ledger=LEDGER)
                environment = {"KEY": key, "ACCOUNTS": f"1-{accounts}", "USERS": f"1-{USERS}"}
                yield Program("ledgerd", served.port, environment, tuple(served.workers()))
                if verify:
                    verified = served.command("verify")
                    assert verified.returncode == 0, verified.stdout + verified.stderr
        finally:
            self.execute(drop)

    def sizes(self, accounts: int, transfers: int) -> str:
        """Bytes of a transfer, or of an account where there are none."""
        with psycopg.connect(self.url(f"ledger_{accounts}"), autocommit=True) as conn:
            if transfers:
                return f"bytes for a transfer:\n{per_row(conn, OF_A_TRANSFER, transfers)}"
            return f"bytes for an account:\n{per_row(conn, OF_AN_ACCOUNT, accounts)}"
