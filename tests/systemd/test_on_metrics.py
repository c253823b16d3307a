"""Metrics and log lines of an instance in its sandbox."""

from __future__ import annotations

import json
from contextlib import closing

from tests.serving import wait_until
from tests.systemd.installed import Installed


def folders(ledgerd: Installed) -> list[str]:
    """What is in the units' folder for running instances, each with its mode."""
    return ledgerd.machine.run("find", "/run/ledgerd", "-maxdepth", "1", "-printf", "%f %m\n").stdout.splitlines()


def test_its_workers_add_up_metrics_in_the_units_folder(ledgerd: Installed) -> None:
    """The sandbox lets them, nobody else may look, and a restart leaves nothing of the instance before."""
    with closing(ledgerd.client()) as client:
        wait_until(lambda: b"\nledgerd_workers 2.0\n" in client.call("GET", "/metrics").body, 30)
    before = f"metrics-{ledgerd.machine.main_pid(ledgerd.web)} 700"
    assert {"ledgerd 700", before} <= set(folders(ledgerd))
    ledgerd.machine.run("systemctl", "restart", ledgerd.web)
    ledgerd.wait_ready()
    assert [name for name in folders(ledgerd) if name.startswith("metrics-")] == [
        f"metrics-{ledgerd.machine.main_pid(ledgerd.web)} 700"
    ]


def test_its_lines_come_to_the_journal_one_by_one(ledgerd: Installed) -> None:
    """Through journald's socket, which is not waited for."""
    with closing(ledgerd.client()) as client:
        request_id = client.call("GET", "/healthz", X_Request_ID="from-the-journal").headers["X-Request-ID"]

    def lines() -> list[str]:
        told = ledgerd.machine.run("journalctl", "-u", ledgerd.web, "-o", "cat", "--no-pager").stdout
        return [line for line in told.splitlines() if request_id in line]

    wait_until(lines, 20)
    (line,) = lines()
    assert json.loads(line)["route"] == "/healthz"
