"""Releases on a real systemd: good ones lose nothing, broken ones change nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.repository.migrate import find_migrations
from service.repository.queries import sql_folder
from tests.invariants import check_invariants
from tests.systemd.bundles import cut_version
from tests.systemd.conftest import ROUNDS
from tests.systemd.installed import WEB, Installed
from tests.systemd.load import Load

RATE = 500.0
NEXT = f"{len(find_migrations(sql_folder() / 'migrations')) + 1:04}"  # the number of a migration that comes after all


def check_books(ledgerd: Installed, told: dict[str, int]) -> None:
    """The books balance, and every transfer that was acknowledged is there, under its key."""
    with ledgerd.as_its_user():
        check_invariants(ledgerd.database_url)
        with psycopg.connect(ledgerd.database_url) as conn:
            query = "SELECT key, transfer_id FROM idempotency_keys WHERE key = ANY (%s)"
            stored = dict(conn.execute(query, (list(told),)).fetchall())
    assert stored == told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_releases_lose_no_request(ledgerd: Installed, bundle: Path, tmp_path: Path) -> None:
    """Release after release under 500 requests a second: none fails, and every acknowledged transfer is there."""
    name = f"release-{time.monotonic_ns()}"
    bundles = [cut_version(bundle, tmp_path, f"0.2.{number}") for number in range(ROUNDS)]
    with Load(ledgerd.port, ledgerd.token, ledgerd.open_accounts(20), RATE, name) as load:
        for number, made in enumerate(bundles):
            old = ledgerd.live
            ledgerd.release(made)
            assert ledgerd.version == f"0.2.{number}"
            assert ledgerd.live != old
            assert not ledgerd.machine.is_active(WEB.format(old))
            load.settle()
    print(f"\n{ROUNDS} releases: {load}")
    assert load.seen.failed == []
    check_books(ledgerd, load.seen.transfers)


BROKEN = {
    "it cannot be imported": (
        {"service/app.py": lambda text: text + "\nimport no_such_module\n"},
        ["No module named 'no_such_module'"],
    ),
    "its worker cannot be imported": (
        {"service/server/worker.py": lambda text: text + "\nimport no_such_module\n"},
        ["ledgerd@", "No module named 'no_such_module'"],
    ),
    "its migration fails": (
        {f"service/sql/migrations/{NEXT}_broken.sql": lambda _: "SELECT 1 / 0;\n"},
        ["ledgerd-migrate@", f"migration {NEXT} (broken) failed: division by zero"],
    ),
    "it never becomes ready": (
        {"service/repository/health.py": lambda text: text.replace("if missing := sorted", "if missing := [9999] + sorted")},
        ["ledgerd@", "lacks migrations [9999]"],
    ),
}


@pytest.fixture
def impatient(ledgerd: Installed) -> Iterator[None]:
    """A unit that gives a new version seconds, not minutes, to become ready."""
    folder = ledgerd.machine.root / "etc/systemd/system/ledgerd@.service.d"
    folder.mkdir()
    (folder / "impatient.conf").write_text("[Service]\nTimeoutStartSec=15\nEnvironment=LEDGERD_BOOT_TIMEOUT_S=3\n")
    yield
    shutil.rmtree(folder)
    ledgerd.machine.run("systemctl", "daemon-reload")


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_release_changes_nothing(what: str, ledgerd: Installed, bundle: Path, tmp_path: Path) -> None:
    """The tool fails and says why, the old version serves on without a failed request, and a good release works afterwards."""
    changes, reasons = BROKEN[what]
    broken = cut_version(bundle, tmp_path, "0.3.0", changes)
    live, version, main_pid = ledgerd.live, ledgerd.version, ledgerd.machine.main_pid(ledgerd.web)
    with Load(ledgerd.port, ledgerd.token, ledgerd.open_accounts(4), 100, f"broken-{time.monotonic_ns()}") as load:
        done = ledgerd.release(broken, check=False)
    assert done.returncode == 1
    for reason in reasons:
        assert reason in done.stderr
    assert load.seen.failed == []
    assert (ledgerd.live, ledgerd.version, ledgerd.machine.main_pid(ledgerd.web)) == (live, version, main_pid)
    other = WEB.format("green" if live == "blue" else "blue")
    assert ledgerd.machine.show(other, "ActiveState") == "inactive"
    check_books(ledgerd, load.seen.transfers)


def test_a_damaged_bundle_is_refused(ledgerd: Installed, bundle: Path, tmp_path: Path) -> None:
    """A file that differs from the manifest: nothing is unpacked, and the file is named."""
    damaged = cut_version(bundle, tmp_path, "0.3.1")
    (damaged / "systemd" / "ledgerd@.service").unlink()
    (damaged / "systemd" / "ledgerd@.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = ledgerd.release(damaged, check=False)
    assert done.returncode == 1
    assert "systemd/ledgerd@.service" in done.stderr
    assert not (ledgerd.machine.root / "opt/ledgerd/releases/0.3.1").exists()


@pytest.mark.slow
def test_a_rollback_goes_to_the_version_before(ledgerd: Installed, bundle: Path, tmp_path: Path) -> None:
    """Also with the tool of the release itself, and after a release that failed; under load, without a failed request."""
    before, stamp = ledgerd.version, time.monotonic_ns()
    with Load(ledgerd.port, ledgerd.token, ledgerd.open_accounts(4), 100, f"rollback-{stamp}") as load:
        ledgerd.release(cut_version(bundle, tmp_path, f"0.4.{stamp}"))
        failed = ledgerd.release(
            cut_version(bundle, tmp_path, f"0.5.{stamp}", BROKEN["its migration fails"][0]), check=False
        )
        assert failed.returncode == 1
        ledgerd.machine.run("/opt/ledgerd/live/deploy/rollback")
    assert ledgerd.version == before
    assert load.seen.failed == []
    check_books(ledgerd, load.seen.transfers)
