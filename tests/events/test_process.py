"""`ledgerd dispatcher` as a process: its metrics and its end, and a child of `ledgerd serve` that comes back when killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from service.events.held import Told
from service.telemetry.webhooks import WebhookMetrics
from tests.client import HttpClient
from tests.conftest import make_key
from tests.events.hooks import hooked
from tests.serving import LEDGERD, ROOT, Serve, children, clean_env, free_port, ledgerd, wait_until


def test_every_metric_is_documented() -> None:
    """docs/operations.md has a row for each."""
    names = set(re.findall(r"^# TYPE (\S+)", WebhookMetrics(Told()).render().decode(), re.MULTILINE))
    names = {name for name in names if not name.endswith("_created")}
    documented = set(re.findall(r"^\| `(ledgerd_webhook\w*)`", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    assert names == documented


def test_it_tells_its_metrics_and_ends_in_order(database_url: str, tmp_path: Path) -> None:
    """SIGTERM: status 0, and the lease is free at once."""
    port = free_port()
    env = clean_env(
        DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path), LEDGERD_DISPATCHER_METRICS_BIND=f"127.0.0.1:{port}",
    )
    process = subprocess.Popen([*LEDGERD, "dispatcher"], env=env, stderr=subprocess.PIPE)
    try:

        def turns() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return "ledgerd_webhooks 0.0" in answer.read().decode()
            except OSError:
                return False

        wait_until(turns, 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_without_a_database_it_says_so() -> None:
    """Status 1, in one line."""
    done = ledgerd("dispatcher")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "DATABASE_URL is not set" in done.stderr


@pytest.mark.slow
def test_serve_runs_one_and_starts_it_again(database_url: str, tmp_path: Path) -> None:
    """Killed with -9, it comes back and goes on; stopped with the rest, nothing is left."""
    settings = {"DATABASE_URL": database_url, "LEDGERD_WORKERS": "1", "LEDGERD_WEBHOOK_NETWORKS": "127.0.0.0/8"}
    with hooked() as hooks, Serve(tmp_path, **settings, LEDGERD_WEBHOOK_LEASE_S="2") as serve:
        serve.wait_ready()
        client = HttpClient(serve.port, make_key(database_url))
        assert client.call("POST", "/api/webhooks", {"url": hooks.url(), "types": ["account.created"]}).status == 201

        def dispatcher() -> list[int]:
            return children(serve.process.pid, "dispatcher")

        def opened() -> int:
            made = client.call("POST", "/api/accounts", {"asset": "USD/2"})
            assert made.status == 201
            return len(hooks.receipts)

        wait_until(lambda: opened() > 0, 30)
        (first,) = dispatcher()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: dispatcher() not in ([], [first]), 30)
        client.call("POST", "/api/accounts", {"asset": "EUR/2"})
        wait_until(lambda: any(r.event["data"]["account"]["asset"] == "EUR/2" for r in list(hooks.receipts)), 30)
        client.close()
        assert serve.stop() == 0
        assert not any(Path(f"/proc/{number}").exists() for number in dispatcher())
