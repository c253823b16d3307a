"""gunicorn's first process is killed under load: `ledgerd serve` ends and says why, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.chaos.conftest import FULL, SETTINGS, open_ledger
from tests.chaos.figures import Figures
from tests.serving import Serve, children, descendants, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

KILLS = 5 if FULL else 1
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def test_a_killed_arbiter_leaves_nothing_behind(
    database_url: str, tmp_path: Path, table: Callable[[str, Figures], None]
) -> None:
    """The supervisor ends with status 1 and a message; no worker and no session is left, and the next start has it all."""
    server = Serve(tmp_path, DATABASE_URL=database_url, **SETTINGS)
    try:
        ledger = open_ledger(server, database_url)
        with ledger.load() as load:
            for _ in range(KILLS):
                below = descendants(server.process.pid)
                (arbiter,) = children(server.process.pid, "service.server")
                with load.fault():
                    os.kill(arbiter, signal.SIGKILL)
                    assert server.process.wait(60) == 1
                    assert "the web server ended by itself with status -9" in server.log.read_text()
                    wait_until(lambda below=below: not any(Path(f"/proc/{pid}").exists() for pid in below), 10)
                    with psycopg.connect(database_url, autocommit=True) as db:
                        wait_until(lambda db=db: db.execute(SESSIONS).fetchone() == (0,), 10)
                    server = Serve(tmp_path, port=server.port, DATABASE_URL=database_url, **SETTINGS)
                    ledger.server = server.wait_ready()
        table("kill -9 of the arbiter, and a start", ledger.check(load))
    finally:
        server.__exit__()
    assert descendants(server.process.pid) == []
