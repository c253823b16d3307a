"""`ledgerd verify` as a process: what it prints, its status, and that nothing is left when it is interrupted."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import TestServer
from tests.integration.conftest import open_pool
from tests.seals import move, open_accounts, seal_all, seal_repository
from tests.serving import LEDGERD, clean_env, descendants, is_there, ledgerd, wait_until


@pytest.fixture
def sealed(database_url: str) -> str:
    """A database with two ledgers; the hash of the only seal, over the first ledger's three transfers of four."""
    with psycopg.connect(database_url, autocommit=True) as db, open_pool(database_url) as pool:
        db.execute("INSERT INTO ledgers (name) VALUES ('one'), ('two')")
        accounts = open_accounts(db)
        for _ in range(3):
            move(db, *accounts)
        seal_all(seal_repository(pool))
        move(db, *accounts)
        row = db.execute("SELECT encode(hash, 'hex') FROM seals").fetchone()
    assert row is not None
    return str(row[0])


def test_a_good_ledger_is_told_with_its_last_seal(database_url: str, sealed: str) -> None:
    """Status 0; a line a ledger, with the hash to keep elsewhere; also for a single one, and as JSON."""
    done = ledgerd("verify", "--jobs", "2", DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "ledgerd: everything is as it should be\n")
    assert done.stdout == (
        f"one: 1 seals over 3 transfers, 1 not sealed yet; last seal 1 {sealed}\ntwo: 0 seals over 0 transfers\n"
    )
    done = ledgerd("verify", "--jobs", "1", "--ledger", "one", "--json", "--expect", sealed, DATABASE_URL=database_url)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "ledgers": [{
            "ledger": "one", "seals": 1, "sealed_transfers": 3, "unsealed_transfers": 1,
            "last_seal": {"number": 1, "last_id": 5, "hash": sealed},
        }],
        "findings": [],
    }


def test_findings_are_told_and_have_a_status(test_server: TestServer, database_url: str, sealed: str) -> None:
    """Status 1; the row is named, with what is there now."""
    database = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(test_server.url(str(database), "postgres"), autocommit=True) as rogue:
        rogue.execute("SET session_replication_role = replica")
        rogue.execute("UPDATE transfers SET reference = 'forged' WHERE id = 4")
    done = ledgerd("verify", "--jobs", "1", "--expect", "0" * 64, DATABASE_URL=database_url)
    assert done.returncode == 1
    assert 'one: transfer 4, seal 1: row_changed: found the row {"id": 4' in done.stdout
    assert '"reference": "forged"' in done.stdout
    unmet = f"seal_not_there: found no seal with this hash; expected hash {'0' * 64}"
    assert unmet in done.stdout.splitlines()
    assert done.stderr == "ledgerd: 2 findings; docs/operations.md says what each means\n"
    done = ledgerd("verify", "--jobs", "1", "--ledger", "two", "--expect", "0" * 64, DATABASE_URL=database_url)
    assert f"two: {unmet}" in done.stdout.splitlines()
    found = json.loads(ledgerd("verify", "--jobs", "1", "--json", DATABASE_URL=database_url).stdout)["findings"]
    assert [(one["code"], one["ledger"], one["transfer_id"], one["seal"]) for one in found] == [("row_changed", "one", 4, 1)]


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (["--jobs", "0"], {}, "'0': expected a whole number from 1 to 256"),
        (["--jobs", "two"], {}, "'two': expected a whole number from 1 to 256"),
        (["--ledger", "No"], {}, "'No': expected 1 to 63 of a-z"),
        (["--expect", "abc"], {}, "'abc': expected the 64 hexadecimal digits"),
        (["--ledger", "three"], {}, "No ledger 'three'; `ledgerd ledger list` shows them."),
        ([], {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, "cannot connect to postgresql://x@127.0.0.1:1/x"),
        ([], {"LEDGERD_TIMEOUT_S": "x"}, "LEDGERD_TIMEOUT_S='x'"),
    ],
)
def test_what_cannot_be_verified_has_a_status_of_its_own(
    database_url: str, arguments: list[str], settings: dict[str, str], told: str
) -> None:
    """Status 2 and a line that says why, never 1: nothing was found."""
    done = ledgerd("verify", *arguments, **{"DATABASE_URL": database_url, **settings})
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_process_that_is_killed_is_no_finding(database_url: str, sealed: str, tmp_path: Path) -> None:
    """As the kernel does it where memory is short: status 2 and a line, and no process is left."""
    with psycopg.connect(database_url, autocommit=True) as db, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE idempotency_keys")
        with subprocess.Popen(
            [*LEDGERD, "verify", "--jobs", "2"], env=clean_env(DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:
            try:
                wait_until(lambda: _verifying(db, "wait_event_type = 'Lock'") == 1, 30)
                family = descendants(process.pid)
                workers = [pid for pid in family if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
                os.kill(workers[0], signal.SIGKILL)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, out) == (2, "")
    assert err.startswith("ledgerd: nothing was found out: a process of the examination was killed")
    assert err.count("\n") == 1
    wait_until(lambda: not any(is_there(pid) for pid in family), 20)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_result_that_cannot_be_written_is_no_finding(database_url: str, sealed: str, form: list[str]) -> None:
    """Status 2 and a line, and not a word that all is well, on a full disk or where nobody reads."""
    command, env = [*LEDGERD, "verify", "--jobs", "1", *form], clean_env(DATABASE_URL=database_url)
    told = "ledgerd: what was found cannot be written to standard output: "
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, f"{told}No space left on device\n")
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb") as unread:
        done = subprocess.run(command, env=env, stdout=unread, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, f"{told}Broken pipe\n")


def test_ctrl_c_leaves_nothing(database_url: str, sealed: str, tmp_path: Path) -> None:
    """A terminal sends it to every process, here while one waits for a lock: status 130, a line, no process, no connection."""
    with psycopg.connect(database_url, autocommit=True) as db, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE idempotency_keys")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*LEDGERD, "verify", "--jobs", "2"], env=clean_env(DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path)),
            stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
        )
        os.close(theirs)
        try:
            wait_until(lambda: _verifying(db, "wait_event_type = 'Lock'") == 1, 30)
            family = descendants(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
            assert os.read(ours, 65_536) == b"ledgerd: interrupted; nothing was found out\r\n"
        finally:
            process.kill()
            process.communicate()
            os.close(ours)
        wait_until(lambda: not any(is_there(pid) for pid in family), 20)
        wait_until(lambda: _verifying(db) == 0, 20)


def _verifying(db: psycopg.Connection, where: str = "true") -> Any:
    row = db.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ledgerd verify' AND {where}"
    ).fetchone()
    assert row is not None
    return row[0]
