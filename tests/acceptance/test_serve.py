"""`ledgerd serve` as a person runs it: start, second start, stop, kill, and starting again."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import psycopg
import pytest

from service.repository.embedded import EmbeddedPostgres
from tests.acceptance.test_posting import open_accounts, post
from tests.client import HttpClient
from tests.invariants import check_invariants
from tests.serving import Serve, descendants, http_status, ledgerd, wait_until
from tests.standby import keep_recovering

ONE_WORKER = {"LEDGERD_WORKERS": "1"}


def admin_client(server: Serve, data_dir: Path) -> HttpClient:
    """A client with the key that the first start kept."""
    return HttpClient(server.port, (data_dir / "admin.key").read_text().strip())


def test_the_first_start_gives_a_ledger_and_the_next_finds_it(data_dir: Path) -> None:
    """From nothing to a transfer; Ctrl-C ends it with 0; the next start has the data and the key."""
    with Serve(data_dir, **ONE_WORKER) as server:
        client = admin_client(server.wait_ready(), data_dir)
        first, second, _ = open_accounts(client, 3)
        assert post(client, first, second, 250).status == 201
        said = server.log.read_text()
        assert f"serves on http://127.0.0.1:{server.port}" in said
        assert f"the admin key is in {data_dir / 'admin.key'}" in said
        assert "try:  curl" in said
        assert stat.S_IMODE((data_dir / "admin.key").stat().st_mode) == 0o600
        client.close()
        assert server.stop(signal.SIGINT) == 0
        assert descendants(server.process.pid) == []
    with Serve(data_dir, **ONE_WORKER) as server:
        client = admin_client(server.wait_ready(), data_dir)
        assert client.call("GET", f"/api/accounts/{second}").json["balance"] == 1_250
        client.close()


def test_a_second_start_on_the_same_data_is_refused(data_dir: Path) -> None:
    """One clear line, status 1, and the first serves on; other commands use the running database."""
    with Serve(data_dir, **ONE_WORKER) as server:
        server.wait_ready()
        second = ledgerd("serve", LEDGERD_DATA_DIR=str(data_dir), LEDGERD_BIND="127.0.0.1:1")
        assert second.returncode == 1
        assert second.stderr.count("\n") == 1
        assert f"(process {server.process.pid}) serves the data directory {data_dir}" in second.stderr
        assert server.command("key", "list").returncode == 0
        assert http_status(f"http://127.0.0.1:{server.port}/readyz") == 200


def test_it_recovers_after_kill_9_of_everything(data_dir: Path) -> None:
    """Every process is killed; the next start recovers by itself, and what was acknowledged is there."""
    with Serve(data_dir, **ONE_WORKER) as server:
        client = admin_client(server.wait_ready(), data_dir)
        first, second, _ = open_accounts(client, 3)
        assert post(client, first, second, 250).status == 201
        for pid in [server.process.pid, *descendants(server.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        server.process.wait(10)
        client.close()
    with Serve(data_dir, **ONE_WORKER) as server:
        client = admin_client(server.wait_ready(), data_dir)
        assert client.call("GET", f"/api/accounts/{second}").json["balance"] == 1_250
        client.close()
        check_invariants(EmbeddedPostgres(data_dir).url)


def test_a_long_recovery_does_not_end_the_start(data_dir: Path) -> None:
    """It is told; a signal ends the start with status 0, and leaves nothing running."""
    postgres = EmbeddedPostgres(data_dir)
    postgres.start()
    keep_recovering(postgres)
    with Serve(data_dir, **ONE_WORKER) as server:
        wait_until(lambda: "PostgreSQL recovers from its log" in server.log.read_text(), 20)
        assert server.process.poll() is None
        assert server.stop() == 0
    assert not postgres.is_running()


def test_its_children_end_with_it(data_dir: Path) -> None:
    """When only `serve` itself is killed, gunicorn and PostgreSQL end too."""
    with Serve(data_dir, **ONE_WORKER) as server:
        server.wait_ready()
        family = descendants(server.process.pid)
        assert len(family) >= 3
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        wait_until(lambda: not any(alive(pid) for pid in family), 40, lambda: f"left: {[p for p in family if alive(p)]}")


def alive(pid: int) -> bool:
    """Whether a process runs, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_request_in_flight_finishes_on_sigterm(served: Serve, database_url: str) -> None:
    """A transfer that waits for a lock when SIGTERM comes is answered; then the process ends with 0."""
    key = served.key()
    client = HttpClient(served.port, key)
    first, second, _ = open_accounts(client, 3)
    replies = []
    with psycopg.connect(database_url) as blocker, psycopg.connect(database_url, autocommit=True) as watch:
        blocker.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (first,))
        thread = threading.Thread(target=lambda: replies.append(post(client, first, second, 5)))
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        wait_until(lambda: watch.execute(waiting).fetchone() == (1,), 10)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: http_status(f"http://127.0.0.1:{served.port}/healthz") is None, 10)
        blocker.rollback()
        thread.join(20)
    assert [reply.status for reply in replies] == [201]
    assert replies[0].headers["Connection"] == "close"
    client.close()
    assert served.process.wait(20) == 0
    assert check_invariants(database_url) == 3


def test_an_idle_connection_does_not_hold_up_the_end(served: Serve) -> None:
    """A keep-alive connection that waits for its next request is closed, and the process ends well before its time-out."""
    client = HttpClient(served.port, served.key())
    assert client.call("GET", "/api/users").status == 200
    assert served.stop(timeout_s=15) == 0
    client.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "cannot connect to postgresql://u:***@127.0.0.1:1/x"),
        ({"DATABASE_URL": "mysql://u:hunter2@h/x"}, "DATABASE_URL: expected postgresql://"),
        ({"DATABASE_URL": "postgresql://u:hunter2@nowhere.invalid/x"}, "cannot connect to postgresql://u:***@nowhere.invalid/x"),
        ({"LEDGERD_WORKERS": "many"}, "LEDGERD_WORKERS='many': expected a whole number"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(settings: dict[str, str], expected: str, tmp_path: Path) -> None:
    """No traceback, no secret, status 1."""
    done = ledgerd("serve", LEDGERD_DATA_DIR=str(tmp_path), **settings)
    assert done.returncode == 1
    assert done.stderr.startswith("ledgerd: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert "hunter2" not in done.stderr


def test_pools_above_the_servers_connections_are_refused(database_url: str, tmp_path: Path) -> None:
    """Workers times pool size above what the server grants is a problem that `check` prints and `serve` refuses."""
    settings = {"DATABASE_URL": database_url, "LEDGERD_WORKERS": "100", "LEDGERD_DB_MAX_OPEN": "25"}
    for command in ("check", "serve"):
        done = ledgerd(command, LEDGERD_DATA_DIR=str(tmp_path), **settings)
        assert done.returncode == 1
        told = "LEDGERD_WORKERS=100 × (LEDGERD_DB_MAX_OPEN=25 + 1), and 6 for webhooks, is 2606 connections"
        assert told in done.stdout + done.stderr


def test_a_port_that_is_taken_ends_it_clearly(served: Serve, database_url: str, tmp_path: Path) -> None:
    """The second server on a port says so and ends with 1."""
    done = ledgerd(
        "serve", DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path), LEDGERD_BIND=f"127.0.0.1:{served.port}",
        LEDGERD_WORKERS="1",
    )
    assert done.returncode == 1
    assert "in use" in done.stderr
