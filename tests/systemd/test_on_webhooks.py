"""The dispatcher of webhooks on a machine: it starts with the rest, works in its sandbox, and comes back when killed."""

from __future__ import annotations

import signal

from tests.systemd.installed import Installed
from tests.systemd.machine import when

UNIT = "ledgerd-dispatcher.service"


def test_it_runs_with_the_rest_and_attempts_what_there_is(ledgerd: Installed) -> None:
    """It reaches the database and looks names up: what it cannot deliver is written down with the reason."""
    assert ledgerd.machine.is_active(UNIT)
    client = ledgerd.client()
    made = client.call("POST", "/api/webhooks", {"url": "https://nobody.invalid/", "types": ["account.created"]})
    assert made.status == 201, made.body
    path = f"/api/webhooks/{made.json['id']}"
    ledgerd.open_accounts(1)

    def problems() -> list[str]:
        return [delivery["last_problem"] for delivery in client.call("GET", f"{path}/deliveries").json["data"]]

    when(problems, 60, "an attempt that failed")
    assert set(problems()) <= {"the host's name cannot be looked up", "timed out", None}
    assert client.call("DELETE", path).status == 204
    client.close()


def test_it_comes_back_when_it_is_killed(ledgerd: Installed) -> None:
    """As another process."""
    machine = ledgerd.machine
    before = machine.main_pid(UNIT)
    machine.kill(signal.SIGKILL, before)
    when(lambda: machine.is_active(UNIT) and machine.main_pid(UNIT) not in (0, before), 60, "another main process")
