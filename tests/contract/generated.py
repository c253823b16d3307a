"""Requests made from the document to a real `ledgerd serve`: none may be answered outside the document.

`make contract` sends thousands; the suite has a bounded form.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.client import Client
from service.concurrency.context import background
from tests.contract.seed import sow
from tests.serving import Serve, clean_env

UPGRADED = "/api/events/ws"  # what follows the answer is no HTTP, and goes on
SETTINGS = Path(__file__).with_name("schemathesis.toml")


@dataclass(frozen=True)
class Outcome:
    """What Schemathesis reports: how much it sent, and what it found, in its own words."""

    cases: int
    operations: dict[str, Any]
    warnings: dict[str, list[Any]]
    passed: bool
    text: str


def run(
    serve: Serve, folder: Path, *options: str, timeout_s: float, document: dict[str, Any] | None = None, show: bool = False
) -> Outcome:
    """Send requests that are made from the document of `serve`, or another one; something to find is put there first.

    `show` lets Schemathesis print as it goes, and then the outcome has no text. Raises subprocess.TimeoutExpired after
    `timeout_s`.
    """
    key = serve.key("admin", "operator")
    asked, report = folder / "openapi.json", folder / "report.json"
    with Client(f"http://127.0.0.1:{serve.port}", key) as client:
        sow(background(), client)
        asked.write_text(json.dumps(document or client.get(background(), "/openapi.json")))
    command = [  # the document as a file: what it is asked for by would be left out as an operation
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "--no-color", "run", str(asked),
        "--url", f"http://127.0.0.1:{serve.port}", "--header", f"Authorization: Bearer {key}", "--checks", "all",
        "--exclude-path", UPGRADED, "--continue-on-failure", "--report", "json", "--report-json-path", str(report), *options,
    ]
    done = subprocess.run(
        command, cwd=folder, env=clean_env(SPARED_KEY=key.split("_")[1]), text=True, timeout=timeout_s, check=False,
        stdout=None if show else subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    assert report.exists(), done.stdout
    told = json.loads(report.read_text())
    return Outcome(
        cases=told["test_cases"]["generated"], operations=told["operations"], warnings=told["warnings"],
        passed=done.returncode == 0, text=done.stdout or "",
    )
