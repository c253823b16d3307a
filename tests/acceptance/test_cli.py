"""The other commands, as processes."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from service import __version__
from tests.client import HttpClient
from tests.serving import Serve, free_port, ledgerd, wait_until


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


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["key", "create", "--ledger", "Shop", "--scopes", "read"], "expected 1 to 63 of a-z"),
        (["key", "create", "--ledger", "shop", "--scopes", "all"], "unknown scope 'all'; choose from read, write, admin"),
        (["key", "create", "--ledger", "shop"], "required: --scopes"),
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
