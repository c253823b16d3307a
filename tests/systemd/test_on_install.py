"""Installing and uninstalling on a bare Debian, from a bundle, without a network."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.systemd.installed import Installed
from tests.systemd.machine import Machine


def tree_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below a folder, with its owner, its mode and where it leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        found[str(path.relative_to(folder))] = (stat.st_uid, stat.st_mode, str(path.readlink()) if path.is_symlink() else "")
    return found


def test_installing_again_changes_nothing(ledgerd: Installed, bundle: Path) -> None:
    """It is idempotent: the same files, and the running processes are left alone."""
    assert ledgerd.version in bundle.name, "this test comes before the releases"
    folders = [ledgerd.machine.root / name for name in ("opt/ledgerd", "etc/ledgerd", "etc/systemd/system")]
    before = [tree_of(folder) for folder in folders]
    main_pid = ledgerd.machine.main_pid(ledgerd.web)
    ledgerd.tool(bundle, "install", "--listen", f"127.0.0.1:{ledgerd.port}")
    assert [tree_of(folder) for folder in folders] == before
    assert ledgerd.machine.main_pid(ledgerd.web) == main_pid


def test_secrets_are_roots_alone(ledgerd: Installed) -> None:
    """The address of the database is no file that another user can read."""
    secret = (ledgerd.machine.root / "etc/ledgerd/database_url").stat()
    assert (secret.st_uid, secret.st_mode & 0o777) == (0, 0o600)
    assert (ledgerd.machine.root / "var/lib/ledgerd").stat().st_mode & 0o007 == 0


@pytest.mark.slow
def test_the_data_outlives_an_uninstall(machine: Machine, bundle: Path) -> None:
    """uninstall leaves no unit, process or program, but data, keys and port; a new install takes them up; --purge does not."""
    ledgerd = Installed(machine).install(bundle)
    account, *_ = ledgerd.open_accounts(1)
    ledgerd.tool(bundle, "uninstall")
    assert machine.run("pgrep", "-u", "ledgerd", check=False).stdout == ""
    left = machine.run("systemctl", "list-unit-files", "ledgerd*", "--no-legend", check=False).stdout
    assert left == ""
    assert not (machine.root / "opt/ledgerd").exists()
    assert not (machine.root / "usr/local/bin/ledgerd").exists()
    assert machine.run("test", "-e", "/run/ledgerd", check=False).returncode == 1
    ledgerd.tool(bundle, "install")
    with closing(ledgerd.client()) as client:
        assert client.call("GET", f"/api/accounts/{account}").status == 200
    ledgerd.tool(bundle, "uninstall", "--purge")
    for name in ("var/lib/ledgerd", "etc/ledgerd", "opt/ledgerd", "etc/systemd/system/ledgerd.socket.d"):
        assert not (machine.root / name).exists()
    assert machine.run("id", "ledgerd", check=False).returncode != 0
