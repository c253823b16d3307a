"""gRPC as a unit: in its sandbox, killed, and through a release."""

from __future__ import annotations

import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.rpc.client import RpcClient
from tests.serving import free_port, wait_until
from tests.systemd.bundles import cut_version, make_bundle
from tests.systemd.installed import Installed
from tests.systemd.machine import Machine, missing, when

UNIT = "ledgerd-grpc.service"
OK = grpc.StatusCode.OK


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with gRPC in it."""
    return make_bundle(tmp_path_factory.mktemp("bundles"), "--extra", "grpc")


@pytest.fixture(scope="module")
def served(brought: Path) -> Iterator[tuple[Installed, int, int]]:
    """An installation whose gRPC unit is enabled, its port, and the one for probes."""
    assert missing() is None, missing()
    with Machine() as machine:
        installed, port, probes = Installed(machine.boot()).install(brought), free_port(), free_port()
        with open(machine.root / "etc/ledgerd/ledgerd.env", "a") as settings:
            settings.write(f"\nLEDGERD_GRPC_BIND=127.0.0.1:{port}\nLEDGERD_GRPC_METRICS_BIND=127.0.0.1:{probes}\n")
        machine.run("systemctl", "enable", "--now", UNIT)
        yield installed, port, probes


def test_it_serves_in_its_sandbox(served: tuple[Installed, int, int]) -> None:
    """As a user without rights, with a line a call in the journal; systemd knows that it is ready, and its watchdog runs."""
    installed, port, _ = served
    with RpcClient(port, installed.token) as client:
        assert client.user("CreateUser", {"name": "A", "email": "a@example.com"}, x_request_id="from-grpc").status is OK
        account = {"asset": "USD/2", "without_min_balance": True}
        accounts = [client.ledger("CreateAccount", account).message.id for _ in range(2)]
        posted = client.ledger("CreateTransfer", {"from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 5})
        assert posted.message.to_balance == 5
    machine = installed.machine
    assert machine.show(UNIT, "StatusText") == "ready"
    assert machine.show(UNIT, "User") == "ledgerd"
    wait_until(lambda: '"from-grpc"' in machine.journal(UNIT), 20)


def test_it_is_started_again_when_it_is_killed(served: tuple[Installed, int, int]) -> None:
    """A client that waits for it goes on."""
    installed, port, _ = served
    before = installed.machine.main_pid(UNIT)
    with RpcClient(port, installed.token) as client:
        assert client.user("ListUsers").status is OK
        installed.machine.kill(signal.SIGKILL, before)
        when(lambda: installed.machine.main_pid(UNIT) not in (0, before), 30, "another main process")
        wait_until(lambda: client.user("ListUsers").status is OK, 60)


def test_a_release_takes_it_along(served: tuple[Installed, int, int], brought: Path, tmp_path: Path) -> None:
    """It runs the new version once that is live, and ends its calls in good order; a rollback takes it back."""
    installed, port, probes = served
    before, machine = installed.machine.main_pid(UNIT), installed.machine
    done = installed.release(cut_version(brought, tmp_path, "9.0.0"))
    assert "restarting gRPC" in done.stderr + done.stdout
    assert machine.main_pid(UNIT) != before
    assert version(probes) == "9.0.0"
    with RpcClient(port, installed.token) as client:
        assert client.user("ListUsers").status is OK
    machine.run("/opt/ledgerd/live/deploy/rollback", timeout_s=300)
    assert version(probes) == installed.version != "9.0.0"
    with RpcClient(port, installed.token) as client:
        assert client.user("ListUsers").status is OK
    assert "status=1/FAILURE" not in machine.journal(UNIT, 500)


def version(probes: int) -> str:
    """Which one the process is of, by its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{probes}/metrics", timeout=10) as answer:
        found = re.search(r'ledgerd_build_info\{.*version="([^"]+)"', answer.read().decode())
    assert found
    return found[1]
