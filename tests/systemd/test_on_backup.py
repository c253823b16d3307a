"""Backups as docs/operations.md tells them: a restore to a point in time, and the move to an external PostgreSQL."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from tests.serving import wait_until
from tests.systemd.installed import Installed

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


@pytest.mark.slow
def test_a_restore_goes_to_a_point_in_time(ledgerd: Installed) -> None:
    """A base backup and the copied log: the database is as it was at a moment between two transfers."""
    run, accounts = ledgerd.machine.run, ledgerd.open_accounts(2)
    run("install", "-d", "-o", "ledgerd", "-g", "ledgerd", "-m", "0700", BACKUPS, f"{BACKUPS}/wal")
    run("systemctl", "enable", "--now", "ledgerd-wal.service")
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
