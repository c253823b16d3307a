"""gunicorn, started by hand with our settings instead of by `ledgerd serve`."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.serving import ROOT, clean_env, free_port, http_status, wait_until


def test_its_own_arbiter_serves_with_our_metrics_and_logs(database_url: str, tmp_path: Path) -> None:
    """Two workers add up their figures in a folder that ends with it, and every line is JSON."""
    port = free_port()
    env = clean_env(
        DATABASE_URL=database_url, LEDGERD_BIND=f"127.0.0.1:{port}", LEDGERD_WORKERS="2", LEDGERD_DATA_DIR=str(tmp_path),
        LEDGERD_DB_MAX_OPEN="5",
    )
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy" / "gunicorn.conf.py"), "wsgi:application"]
    log = tmp_path / "log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out) as process:
        try:
            wait_until(lambda: http_status(f"http://127.0.0.1:{port}/readyz") == 200, 60, log.read_text)
            wait_until(lambda: "\nledgerd_workers 2.0\n" in metrics(port), 30, log.read_text)
        finally:
            process.terminate()
        assert process.wait(60) == 0
    assert list((tmp_path / "run").glob("metrics-*")) == []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["route"] for line in lines if line["logger"] == "ledgerd.access"][-1] == "/metrics"


def metrics(port: int) -> str:
    """What /metrics answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text
