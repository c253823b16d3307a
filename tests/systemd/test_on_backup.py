"""Backups as docs/operations.md tells them: a restore to a point in time, and the move to an external PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from service.repository.binaries import packaged_binaries
from tests.invariants import check_invariants
from tests.serving import free_port, wait_until
from tests.systemd.installed import Installed
from tests.systemd.machine import Machine

PROGRAMS = "/opt/ledgerd/postgres/postgresql/bin"
BACKUPS = "/var/backups/ledgerd"
AS_LEDGERD = ("runuser", "-u", "ledgerd", "--")
AS_POSTGRES = ("-h", "/var/lib/ledgerd/socket", "-U", "postgres")


def post(ledgerd: Installed, accounts: list[int], count: int) -> None:
    """So many transfers of 1 from the first account to the second."""
    body = {"from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 1}
    with closing(ledgerd.client()) as client:
        assert [client.call("POST", "/api/transfers", body).status for _ in range(count)] == [201] * count


def balance(ledgerd: Installed, account: int) -> int:
    """What the ledger says."""
    with closing(ledgerd.client()) as client:
        reply = client.call("GET", f"/api/accounts/{account}/balance")
    assert reply.status == 200, reply.body
    return int(reply.json["balance"])


@pytest.fixture
def archived(ledgerd: Installed) -> Iterator[Installed]:
    """The installation with its log being copied."""
    run = ledgerd.machine.run
    run("install", "-d", "-o", "ledgerd", "-g", "ledgerd", "-m", "0700", BACKUPS, f"{BACKUPS}/wal")
    run("systemctl", "enable", "--now", "ledgerd-wal.service")
    yield ledgerd
    run("systemctl", "disable", "--now", "ledgerd-wal.service")


@pytest.mark.slow
def test_a_restore_goes_to_a_point_in_time(archived: Installed) -> None:
    """A base backup and the copied log: the database is as it was at a moment between two transfers."""
    ledgerd = archived
    run, accounts = ledgerd.machine.run, ledgerd.open_accounts(2)
    post(ledgerd, accounts, 3)
    run(*AS_LEDGERD, f"{PROGRAMS}/pg_basebackup", *AS_POSTGRES, "-D", f"{BACKUPS}/base", "--checkpoint=fast")
    post(ledgerd, accounts, 5)
    with ledgerd.as_its_user(), psycopg.connect(ledgerd.database_url) as conn:
        moment = conn.execute("SELECT clock_timestamp()::text").fetchone()[0]
    post(ledgerd, accounts, 7)
    assert balance(ledgerd, accounts[1]) == 15

    run("systemctl", "stop", "ledgerd.target", "ledgerd-postgres.service")  # named, so that its end is waited for
    run("mv", "/var/lib/ledgerd/postgres", "/var/lib/ledgerd/postgres.before")
    run("cp", "-a", f"{BACKUPS}/base", "/var/lib/ledgerd/postgres")
    settings = (
        f"restore_command = 'cp {BACKUPS}/wal/%f %p || cp {BACKUPS}/wal/%f.partial %p'\n"
        f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n"
    )
    with open(ledgerd.machine.root / "var/lib/ledgerd/postgres/postgresql.auto.conf", "a") as file:
        file.write(settings)
    run(*AS_LEDGERD, "touch", "/var/lib/ledgerd/postgres/recovery.signal")
    run("systemctl", "start", "ledgerd-postgres.service")
    recovery = ledgerd.machine.root / "var/lib/ledgerd/postgres/recovery.signal"
    wait_until(lambda: not recovery.exists(), 60, lambda: ledgerd.machine.journal("ledgerd-postgres.service"))
    run("systemctl", "start", "ledgerd.target")
    ledgerd.wait_ready()
    assert balance(ledgerd, accounts[1]) == 8
    post(ledgerd, accounts, 1)
    assert balance(ledgerd, accounts[1]) == 9


@pytest.fixture
def external() -> Iterator[str]:
    """The address of a PostgreSQL that is reached by TCP and a password, with an empty database for ledgerd."""
    folder, programs, port = Path(tempfile.mkdtemp(prefix="ledgerd-external-")), packaged_binaries(), free_port()
    shutil.chown(folder, "nobody")

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, *arguments], user="nobody", group="nogroup", cwd="/", check=True,
                       stdout=subprocess.DEVNULL)

    (folder / "password").write_text("secret-of-the-superuser")
    cluster, log = str(folder / "cluster"), str(folder / "log")
    run("initdb", "-D", cluster, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={folder}/password")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    run("pg_ctl", "-D", cluster, "-o", options, "-l", log, "--wait", "start")
    try:
        with psycopg.connect(
            host="127.0.0.1", port=port, user="postgres", password="secret-of-the-superuser", autocommit=True
        ) as conn:
            conn.execute("CREATE ROLE ledgerd LOGIN PASSWORD 'elsewhere'")
            conn.execute("CREATE DATABASE ledgerd OWNER ledgerd")
        yield f"postgresql://ledgerd:elsewhere@127.0.0.1:{port}/ledgerd"
    finally:
        run("pg_ctl", "-D", cluster, "--mode=fast", "--wait", "stop")
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_ledger_moves_to_an_external_postgresql(machine: Machine, bundle: Path, external: str) -> None:
    """pg_dump, pg_restore, and an install with the new address: the same balance, over TCP, and the old database is off."""
    ledgerd = Installed(machine).install(bundle)
    accounts = ledgerd.open_accounts(2)
    post(ledgerd, accounts, 11)
    machine.run("systemctl", "stop", ledgerd.web)
    dump = "/var/lib/ledgerd/ledger.dump"
    source = ("-h", "/var/lib/ledgerd/socket", "-U", "ledgerd", "-d", "ledgerd")
    machine.run(*AS_LEDGERD, f"{PROGRAMS}/pg_dump", *source, "--format=custom", "--file", dump)
    machine.run(f"{PROGRAMS}/pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", "-d", external, dump)
    (machine.root / "root/url").write_text(external + "\n")
    ledgerd.tool(bundle, "install", "--database-url-file", "/root/url")
    assert balance(ledgerd, accounts[1]) == 11
    post(ledgerd, accounts, 1)
    assert check_invariants(external) == 12
    assert not machine.is_active("ledgerd-postgres.service")
    network = machine.show(ledgerd.web, "PrivateNetwork"), machine.show(ledgerd.web, "IPAddressAllow")
    assert network == ("no", "127.0.0.1/32")
    assert "elsewhere" not in machine.run("journalctl", "--no-pager").stdout
    environment = machine.run("cat", f"/proc/{machine.main_pid(ledgerd.web)}/environ").stdout
    assert "elsewhere" not in environment
