"""Whether `check` sees what a database has of this version."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from service.doctor import migrations
from service.doctor.verdict import State
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.doctor.conftest import Look


def run(url: str, statement: str) -> None:
    """A statement in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement)


def test_a_current_database_is_ok(look: Look, database_url: str) -> None:
    """Tables and functions."""
    for examination in (migrations.migrations, migrations.functions):
        (verdict,) = look(examination, database_url)
        assert verdict.state is State.OK


def test_an_empty_database_is_behind(look: Look, empty_database_url: str) -> None:
    """Every migration is missing, and the hint says how to get them."""
    (verdict,) = look(migrations.migrations, empty_database_url)
    assert verdict.state is State.PROBLEM
    assert "0001 ledgers_and_keys" in verdict.detail
    assert "ledgerd migrate" in verdict.hint


def test_a_missing_migration_is_a_problem(look: Look, empty_database_url: str, tmp_path: Path) -> None:
    """The database of the version before this one."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    last = sorted((tmp_path / "sql" / "migrations").glob("*.sql"))[-1]
    last.unlink()
    shutil.rmtree(tmp_path / "sql" / "functions")
    migrate(empty_database_url, tmp_path / "sql", lambda _: None)
    (verdict,) = look(migrations.migrations, empty_database_url)
    assert verdict.state is State.PROBLEM
    assert verdict.detail.endswith(f"missing: {last.stem.replace('_', ' ', 1)}")


def test_a_database_that_is_ahead_is_a_warning(look: Look, database_url: str) -> None:
    """So looks a release to the version before; its functions are then none of ours to judge."""
    run(database_url, "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', '')")
    run(database_url, "ALTER FUNCTION post_transfers RENAME TO later")
    (verdict,) = look(migrations.migrations, database_url)
    assert (verdict.state, verdict.detail) == (State.WARNING, "ahead of this version by 9999")
    (verdict,) = look(migrations.functions, database_url)
    assert verdict.state is State.WARNING


def test_a_migration_that_was_changed_is_a_problem(look: Look, database_url: str) -> None:
    """`migrate` would refuse to go on."""
    run(database_url, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 2")
    (verdict,) = look(migrations.migrations, database_url)
    assert verdict.state is State.PROBLEM
    assert "0002" in verdict.detail


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER FUNCTION post_transfers RENAME TO gone",
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('post_transfers'::regproc), 'insufficient_funds', 'posted'); END $$",
    ],
    ids=["missing", "replaced by hand"],
)
def test_functions_are_compared_with_what_the_server_runs(look: Look, database_url: str, statement: str) -> None:
    """What the book-keeping of `migrate` says is not enough: the rules of money are in that function."""
    run(database_url, statement)
    (verdict,) = look(migrations.functions, database_url)
    assert verdict.state is State.PROBLEM
    assert "post_transfers" in verdict.detail
    run(database_url, "DELETE FROM schema_functions")
    migrate(database_url, sql_folder(), lambda _: None)
    assert look(migrations.functions, database_url)[0].state is State.OK
