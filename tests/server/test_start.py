"""From the start to READY=1, and what happens when a worker does not come up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg

from service.repository.migrate import find_migrations, migrate
from service.repository.queries import sql_folder
from service.server.exit_status import ExitStatus
from tests.conftest import TestServer
from tests.server.web import Web
from tests.serving import ledgerd, wait_until


def test_ready_comes_with_the_last_migration_and_not_before(start: Callable[..., Web], empty_database_url: str) -> None:
    """STATUS says what is missing; connections wait meanwhile; then READY=1 once, and the stop is told."""
    web = start(DATABASE_URL=empty_database_url)
    versions = [migration.version for migration in find_migrations(sql_folder() / "migrations")]
    web.wait_log(f"The database lacks migrations {versions}: run `ledgerd migrate`.", times=2)
    wait_until(lambda: "lacks migrations" in web.notify.status, 30)
    assert web.notify.states == []
    assert int(web.notify.messages[0]["EXTEND_TIMEOUT_USEC"]) > 60_000_000
    migrate(empty_database_url, sql_folder(), lambda _: None)
    web.wait_ready()
    assert web.answers("/readyz") == 200
    assert web.wait_workers(2)
    assert web.notify.status == "2 of 2 workers ready; ledgerd 0.1.0"
    assert web.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED
    assert web.notify.states == ["READY", "STOPPING"]


def test_it_becomes_ready_when_the_database_appears(start: Callable[..., Web], test_server: TestServer) -> None:
    """Neither the order of units nor a database that still starts makes it fail."""
    web = start(DATABASE_URL=test_server.url("later"))
    web.wait_log("waits: ", times=2)
    assert web.notify.states == []
    test_server.execute("CREATE DATABASE later TEMPLATE template OWNER ledgerd")
    try:
        assert web.wait_ready().answers() == 200
        assert web.signal().wait_end() == ExitStatus.STOPPED
    finally:
        test_server.execute("DROP DATABASE later WITH (FORCE)")


def test_a_worker_that_hangs_at_its_start_is_replaced(start: Callable[..., Web], faults: Path) -> None:
    """It is ended after LEDGERD_BOOT_TIMEOUT_S, the log says where it was, and the next one serves."""
    (faults / "hangs").touch()
    web = start(LEDGERD_BOOT_TIMEOUT_S="8", LEDGERD_WORKERS="1")
    web.wait_log("is not up after 8 s: it has not loaded the application yet")
    web.wait_log("sitecustomize.py")  # the place in the stack
    assert web.notify.states == []
    (faults / "hangs").unlink()
    assert web.wait_ready().answers() == 200


def test_a_release_that_does_not_load_ends_the_start(start: Callable[..., Web], faults: Path) -> None:
    """After a few tries, with status 3 and the reason; READY=1 was never said."""
    (faults / "broken").touch()
    web = start()
    assert web.wait_end() == ExitStatus.NO_WORKER
    assert "no worker comes up: ImportError: this release is broken" in web.log
    assert web.notify.states == ["STOPPING"]


def test_workers_that_do_not_come_up_leave_the_others_alone(start: Callable[..., Web], faults: Path) -> None:
    """One of two is killed and cannot be replaced: the other serves, tries have pauses, and in the end there are two again."""
    web = start().wait_ready()
    victim, survivor = web.wait_workers(2)
    (faults / "broken").touch()
    os.kill(victim, signal.SIGKILL)
    web.wait_log("did not come up (status 3): ImportError: this release is broken", times=4)
    assert survivor in web.workers
    assert web.answers("/readyz") == 200
    assert web.notify.status.startswith("1 of 2 workers ready")
    (faults / "broken").unlink()
    assert survivor in web.wait_workers(2)
    assert web.signal().wait_end() == ExitStatus.STOPPED


def test_a_replacement_serves_without_the_database_as_its_siblings_do(
    start: Callable[..., Web], test_server: TestServer, database_url: str
) -> None:
    """While the database refuses, the only worker is killed: the next one answers 503 instead of letting clients wait."""
    web = start(LEDGERD_WORKERS="1").wait_ready()
    (worker,) = web.wait_workers(1)
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    test_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: web.answers("/healthz") == 200, 30)
        wait_until(lambda: web.answers("/readyz") == 503, 30)
    finally:
        test_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_until(lambda: web.answers("/readyz") == 200, 30)


def test_without_a_database_it_says_what_is_missing() -> None:
    """One line, status 1."""
    done = ledgerd("web")
    assert (done.returncode, done.stderr) == (
        ExitStatus.PROBLEM, "ledgerd: DATABASE_URL is not set; `ledgerd serve` brings a database along\n",
    )


def test_the_arbiter_imports_nothing_that_must_be_patched_first() -> None:
    """Neither the driver, nor the core, nor the application is in the process that workers are forked from."""
    code = """
import sys, service.server.__main__, service.server.worker
found = {name for name in sys.modules if name.split('.')[0] in ('psycopg', 'psycopg_pool', 'flask') or name == 'service.app'
         or name.startswith(('service.concurrency', 'service.repository', 'service.api'))}
sys.exit(f"imported: {sorted(found)}" if found else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
