"""The other commands, as processes."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from service import __version__
from tests.client import HttpClient
from tests.contract.document import the_document
from tests.serving import LEDGERD, Serve, clean_env, free_port, ledgerd, wait_until


def test_a_key_is_made_listed_and_revoked(served: Serve) -> None:
    """`key create` prints the key alone; `key list` never shows it; a revoked key stops working."""
    made = served.command("key", "create", "--ledger", "shop", "--scopes", "read,write", "--name", "till 1")
    token = made.stdout.strip()
    assert made.stdout == token + "\n"
    assert "made the ledger 'shop'" in made.stderr
    client = HttpClient(served.port, token)
    assert client.call("GET", "/api/users").status == 200

    listed = json.loads(served.command("key", "list", "--json").stdout)
    mine = next(key for key in listed if key["name"] == "till 1")
    assert (mine["ledger"], mine["scopes"], mine["revoked_at"]) == ("shop", ["read", "write"], None)
    assert token.rpartition("_")[2] not in served.command("key", "list").stdout

    assert served.command("key", "revoke", mine["id"]).returncode == 0
    wait_until(lambda: client.call("GET", "/api/users").status == 401, 10)
    client.close()


def test_a_key_is_given_limits_and_rotated(served: Serve) -> None:
    """Everything that the key is given is listed; `key rotate` prints the key that follows, and says when the old one ends."""
    made = served.command(
        "key", "create", "--ledger", "shop", "--scopes", "accounts:read,write", "--name", "till", "--expires-in", "30d",
        "--rate", "100", "--burst", "20",
    )
    assert made.returncode == 0, made.stderr
    key_id = made.stdout.split("_")[1]
    (row,) = json.loads(served.command("key", "list", "--json", "--ledger", "shop").stdout)
    assert (row["id"], row["rate_per_s"], row["burst"], row["last_used_at"]) == (key_id, 100, 20, None)
    assert datetime.fromisoformat(row["expires_at"]) > datetime.fromisoformat(row["created_at"]) + timedelta(days=29)

    rotated = served.command("key", "rotate", made.stdout.strip(), "--overlap", "1h")
    assert rotated.returncode == 0, rotated.stderr
    follower = rotated.stdout.split("_")[1]
    assert f"{key_id} is followed by {follower}, and ends at " in rotated.stderr
    for token in (made.stdout.strip(), rotated.stdout.strip()):
        client = HttpClient(served.port, token)
        assert client.call("GET", "/api/users").status == 200
        client.close()
    table = served.command("key", "list", "--ledger", "shop").stdout.splitlines()
    assert table[0].split() == [
        "ID", "LEDGER", "SCOPES", "CREATED_AT", "EXPIRES_AT", "LAST_USED_AT", "REVOKED_AT", "REPLACED_BY", "NAME"
    ]
    assert [line.split()[0] for line in table[1:]] == [key_id, follower]

    again = served.command("key", "rotate", key_id)
    assert again.returncode == 1
    assert f"rotate {follower}, which follows it" in again.stderr


def test_a_key_for_accounts_that_there_are_not_is_not_made(served: Serve) -> None:
    """Nor is its ledger."""
    done = served.command("key", "create", "--ledger", "shop", "--scopes", "write", "--debit", "7")
    assert done.returncode == 1
    assert "no such account in the key's ledger: 7" in done.stderr
    assert json.loads(served.command("ledger", "list", "--json").stdout) == []


def test_ledgers_are_made_and_listed(served: Serve) -> None:
    """`ledger create` prints the id; a taken name is an error."""
    made = served.command("ledger", "create", "shop")
    assert (made.returncode, made.stdout) == (0, "1\n")
    (row,) = json.loads(served.command("ledger", "list", "--json").stdout)
    assert (row["id"], row["name"]) == (1, "shop")
    assert "shop" in served.command("ledger", "list").stdout
    unknown = served.command("key", "list", "--ledger", "shup")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "No ledger 'shup'" in unknown.stderr
    again = served.command("ledger", "create", "shop")
    assert (again.returncode, again.stdout) == (1, "")
    assert "Another ledger has this name." in again.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["key", "create", "--ledger", "Shop", "--scopes", "read"], "expected 1 to 63 of a-z"),
        (["key", "create", "--ledger", "shop", "--scopes", "all"], "unknown scope 'all'; choose from read, write, admin"),
        (["key", "create", "--ledger", "shop"], "required: --scopes"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--expires-in", "30"], "such as 30d; from 1s to 3650d"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--expires-in", "1w"], "'1w': expected a whole number"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--expires-in", "0s"], "from 1s"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--debit", "1,x"], "such as 12,15"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--rate", "0"], "expected a whole number from 1 to"),
        (["key", "create", "--ledger", "shop", "--scopes", "read", "--burst", "1.5"], "expected a whole number from 1 to"),
        (["key", "rotate", "0123456789ab", "--overlap", "31d"], "such as 24h; from 0s to 30d"),
        (["ledger", "create", "My Shop"], "expected 1 to 63 of a-z"),
        (["sing"], "invalid choice: 'sing'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(arguments: list[str], expected: str) -> None:
    """Status 2 and a line on standard error."""
    done = ledgerd(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr


def test_revoking_an_unknown_key_is_an_error(served: Serve) -> None:
    """Status 1, and where the ids are."""
    done = served.command("key", "revoke", "nobody")
    assert done.returncode == 1
    assert "No API key 'nobody'; `ledgerd key list` shows them." in done.stderr


def test_check_masks_secrets_and_reports_every_problem(tmp_path: Path) -> None:
    """All problems at once, and the configuration without the password, also as JSON."""
    settings = {
        "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x", "LEDGERD_TIMEOUT_S": "-1", "LEDGERD_LOG_LEVEL": "loud",
        "LEDGERD_DATA_DIR": str(tmp_path),
    }
    done = ledgerd("check", "--json", **settings)
    content = json.loads(done.stdout)
    assert done.returncode == 1
    assert content["configuration"]["DATABASE_URL"] == "postgresql://u:***@127.0.0.1:1/x"
    text = "\n".join(found["detail"] for found in content["examinations"] if found["state"] == "problem")
    assert all(word in text for word in ("LEDGERD_TIMEOUT_S='-1'", "LEDGERD_LOG_LEVEL='loud'", "cannot connect"))
    assert "hunter2" not in done.stdout + done.stderr
    plain = ledgerd("check", **settings)
    assert "3 problems" in plain.stderr
    assert "hunter2" not in plain.stdout + plain.stderr


def test_check_of_a_good_configuration_has_no_problem(database_url: str, tmp_path: Path) -> None:
    """Status 0, whatever warnings this host gives."""
    bind = f"127.0.0.1:{free_port()}"
    done = ledgerd("check", DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path), LEDGERD_WORKERS="2", LEDGERD_BIND=bind)
    assert done.returncode == 0, done.stdout
    assert done.stderr.startswith("ledgerd: no problems, ")


def test_check_beside_a_running_server(served: Serve) -> None:
    """The port is taken by the server that it belongs to, which is fine."""
    done = served.command("check", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["examinations"]}
    assert done.returncode == 0, done.stdout
    assert found["port"]["detail"] == f"a ledgerd answers on 127.0.0.1:{served.port}"
    assert "0 taken by others" in found["connections"]["detail"]


def test_check_changes_nothing(empty_database_url: str, tmp_path: Path) -> None:
    """An empty database stays empty, and a folder that is not there is not made."""
    done = ledgerd("check", DATABASE_URL=empty_database_url, LEDGERD_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 1
    assert "ledgerd migrate" in done.stdout
    assert not (tmp_path / "data").exists()
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchone() == (0,)


def test_the_version_is_told() -> None:
    """--version."""
    assert ledgerd("--version").stdout == f"ledgerd {__version__}\n"


def test_the_contract_is_printed_without_a_database() -> None:
    """`ledgerd openapi` prints what /openapi.json serves."""
    done = ledgerd("openapi")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(json.dumps(the_document()))


def test_whoever_reads_may_have_seen_enough() -> None:
    """Like `head -1`: the command ends without a word more."""
    with subprocess.Popen(
        [*LEDGERD, "openapi"], env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("command", [("export",), ("verify",), ("key", "list"), ("ledger", "list")])
def test_no_database_is_made_by_who_only_asks(tmp_path: Path, command: tuple[str, ...]) -> None:
    """A folder with a mistake in its name stays as it is, and it is said what would be right."""
    done = ledgerd(*command, LEDGERD_DATA_DIR=str(tmp_path / "typo"))
    assert done.returncode == (2 if command == ("verify",) else 1)
    assert f"there is no database in {tmp_path}/typo: set LEDGERD_DATA_DIR or DATABASE_URL" in done.stderr
    assert not (tmp_path / "typo").exists()
