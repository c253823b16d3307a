"""Migrations: once, in order, safe when several start at once, and never half done."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from service.errors import ConfigurationError
from service.repository.migrate import find_migrations, migrate, standing
from service.repository.queries import sql_folder
from tests.serving import clean_env


def test_a_second_run_takes_no_step(empty_database_url: str) -> None:
    """What is applied is not applied again."""
    steps: list[str] = []
    assert migrate(empty_database_url, sql_folder(), steps.append) == len(steps) > 0
    assert migrate(empty_database_url, sql_folder(), steps.append) == 0


def test_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    """Of four processes on an empty database one does the work, and all succeed."""
    command = [sys.executable, "-m", "service", "migrate"]
    env = clean_env(DATABASE_URL=empty_database_url)
    running = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert sum("applied migration 0001" in text for text in said) == 1


def test_a_failed_migration_leaves_nothing(empty_database_url: str, tmp_path: Path) -> None:
    """A migration is one transaction: what it did before its error is undone, and those before it stay."""
    shutil.copytree(sql_folder() / "migrations", tmp_path / "migrations")
    number = len(find_migrations(sql_folder() / "migrations")) + 1
    (tmp_path / "migrations" / f"{number:04}_broken.sql").write_text("CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(ConfigurationError, match=f"{number:04} .broken. failed: division by zero"):
        migrate(empty_database_url, tmp_path, lambda _: None)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT to_regclass('half'), to_regclass('transfers')::text").fetchone() == (None, "transfers")


def test_a_changed_migration_is_refused(empty_database_url: str, tmp_path: Path) -> None:
    """A file that was applied must stay as it was."""
    shutil.copytree(sql_folder() / "migrations", tmp_path / "migrations")
    migrate(empty_database_url, tmp_path, lambda _: None)
    first = sorted((tmp_path / "migrations").glob("*.sql"))[0]
    first.write_text(first.read_text() + "\n-- later thought\n")
    with pytest.raises(ConfigurationError, match="was changed after it was applied"):
        migrate(empty_database_url, tmp_path, lambda _: None)


def test_a_changed_function_is_replaced(empty_database_url: str, tmp_path: Path) -> None:
    """Functions follow their files."""
    shutil.copytree(sql_folder() / "migrations", tmp_path / "migrations")
    (tmp_path / "functions").mkdir()
    for answer in (1, 2):
        (tmp_path / "functions" / "answer.sql").write_text(
            f"CREATE OR REPLACE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT {answer}'"
        )
        migrate(empty_database_url, tmp_path, lambda _: None)
        with psycopg.connect(empty_database_url) as conn:
            assert conn.execute("SELECT answer()").fetchone() == (answer,)


@pytest.mark.parametrize("name", ["1_short.sql", "0002_gap.sql"])
def test_misnamed_and_missing_numbers_are_errors(tmp_path: Path, name: str) -> None:
    """The files are numbered 0001, 0002, … without a gap."""
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"expected NNNN_name|not numbered"):
        find_migrations(tmp_path)


def test_an_unreachable_server_is_one_clear_line() -> None:
    """The error names the address without the password, and the reason."""
    with pytest.raises(ConfigurationError) as caught:
        migrate("postgresql://u:secret@127.0.0.1:1/x", sql_folder(), lambda _: None)
    assert len(caught.value.problems) == 1
    assert "u:***@127.0.0.1:1" in caught.value.problems[0]
    assert "secret" not in caught.value.problems[0]
    assert "\n" not in caught.value.problems[0]


def test_the_version_before_goes_on_posting_during_a_release(empty_database_url: str, tmp_path: Path) -> None:
    """The posting function of before the holds stays beside the new one, which is the one that is looked at."""
    shutil.copytree(sql_folder(), tmp_path / "sql")
    (tmp_path / "sql" / "migrations" / "0009_holds.sql").unlink()
    for later in (tmp_path / "sql" / "migrations").glob("00[1-9][0-9]_*.sql"):
        later.unlink()
    old = "CREATE FUNCTION post_transfers(p_ledgers bigint[]) RETURNS text LANGUAGE sql AS $$ SELECT 'as before' $$"
    (tmp_path / "sql" / "functions" / "post_transfers.sql").write_text(old)
    migrate(empty_database_url, tmp_path / "sql", lambda _: None)
    migrate(empty_database_url, sql_folder(), lambda _: None)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT post_transfers('{1}'::bigint[])").fetchone() == ("as before",)
        assert standing(conn, sql_folder()).other_functions == []
