"""What the role may do: too little is a problem, too much a warning."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from service.doctor import permissions
from service.doctor.verdict import State
from tests.conftest import TestServer
from tests.doctor.conftest import Look


@pytest.fixture
def clerk(test_server: TestServer, database_url: str) -> Iterator[str]:
    """The test's database as a role that owns nothing and may do nothing."""
    test_server.execute("DROP ROLE IF EXISTS clerk")
    test_server.execute("CREATE ROLE clerk LOGIN")
    ident = test_server.folder / "postgres" / "pg_ident.conf"
    before = ident.read_text()
    mapped = [line.rpartition(" ")[0] for line in before.splitlines() if line.endswith(" ledgerd")]
    ident.write_text(before + "".join(f"{line} clerk\n" for line in mapped))
    test_server.execute("SELECT pg_reload_conf()")
    yield database_url.replace("ledgerd@", "clerk@", 1)
    ident.write_text(before)
    test_server.execute("SELECT pg_reload_conf()")
    as_owner(database_url, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM clerk")
    as_owner(database_url, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM clerk")
    test_server.execute("DROP ROLE clerk")


def as_owner(url: str, statement: str) -> None:
    """A statement as the owner of the tables, in autocommit mode."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(statement)


def grant_all(url: str) -> None:
    """What the service needs, to `clerk`."""
    for relation, privileges in permissions.NEEDED.items():
        kind = "SEQUENCE" if privileges == ("USAGE",) else "TABLE"
        as_owner(url, f"GRANT {', '.join(privileges)} ON {kind} {relation} TO clerk")


def test_the_owner_may_do_everything_and_no_more(look: Look, database_url: str) -> None:
    """The role that docs/operations.md describes."""
    for examination in permissions.GROUP.examinations:
        (verdict,) = look(examination.ask, database_url)
        assert verdict.state is State.OK, examination.name


def test_a_role_without_rights_is_a_problem(look: Look, clerk: str) -> None:
    """Each right that is missing is named."""
    (verdict,) = look(permissions.rights, clerk)
    assert verdict.state is State.PROBLEM
    for word in ("clerk lacks", "INSERT on transfers", "USAGE on transfers_id_seq", "SELECT on secrets"):
        assert word in verdict.detail


def test_one_missing_right_is_named_alone(look: Look, clerk: str, database_url: str) -> None:
    """Each of them, with all the others there."""
    grant_all(database_url)
    assert look(permissions.rights, clerk)[0].state is State.OK
    for relation, privileges in permissions.NEEDED.items():
        for privilege in privileges:
            what = f"{privilege} ON {'SEQUENCE' if privilege == 'USAGE' else 'TABLE'} {relation}"
            as_owner(database_url, f"REVOKE {what} FROM clerk")
            (verdict,) = look(permissions.rights, clerk)
            assert (verdict.state, verdict.detail) == (State.PROBLEM, f"clerk lacks {privilege} on {relation}")
            as_owner(database_url, f"GRANT {what} TO clerk")


def test_a_function_that_may_not_be_called_is_named(look: Look, clerk: str, database_url: str) -> None:
    """Transfers are posted by it."""
    grant_all(database_url)
    as_owner(database_url, "REVOKE EXECUTE ON FUNCTION post_transfers FROM PUBLIC")
    assert look(permissions.rights, clerk)[0].detail == "clerk lacks EXECUTE on post_transfers"


def test_a_database_without_tables_is_told_as_such(look: Look, empty_database_url: str) -> None:
    """Not as a list of missing rights."""
    (verdict,) = look(permissions.rights, empty_database_url)
    assert verdict.state is State.PROBLEM
    assert "sees no table of ledgerd in schema public" in verdict.detail


def test_a_role_that_owns_nothing_cannot_migrate(look: Look, clerk: str, database_url: str) -> None:
    """A warning, since another role may be meant to."""
    grant_all(database_url)
    (verdict,) = look(permissions.migrating, clerk)
    assert verdict.state is State.WARNING
    assert "clerk cannot migrate" in verdict.detail
    assert "ledgerd's" in verdict.detail


def test_a_superuser_is_a_warning(look: Look, database_url: str) -> None:
    """It could turn the append-only triggers off."""
    (verdict,) = look(permissions.superfluous, database_url.replace("ledgerd@", "postgres@", 1))
    assert verdict.state is State.WARNING
    assert verdict.detail == "postgres is a superuser: more than the service needs"


def test_a_right_to_silence_triggers_is_a_warning(look: Look, clerk: str, test_server: TestServer) -> None:
    """Granted to somebody who is no superuser."""
    test_server.execute("GRANT SET ON PARAMETER session_replication_role TO clerk")
    test_server.execute("GRANT pg_write_server_files TO clerk")
    try:
        (verdict,) = look(permissions.superfluous, clerk)
    finally:
        test_server.execute("REVOKE SET ON PARAMETER session_replication_role FROM clerk")
    assert verdict.state is State.WARNING
    assert "session_replication_role" in verdict.detail
    assert "may write files" in verdict.detail


@pytest.mark.parametrize("how", ["ALTER TABLE {} DISABLE TRIGGER {}", "DROP TRIGGER {1} ON {0}"], ids=["disabled", "missing"])
def test_a_log_that_can_be_changed_is_a_problem(look: Look, database_url: str, how: str) -> None:
    """Whichever of the triggers is turned off, or gone."""
    for number, (name, relation) in enumerate(permissions.GUARDS.items(), 1):
        as_owner(database_url, how.format(relation, name))
        (verdict,) = look(permissions.append_only, database_url)
        assert verdict.state is State.PROBLEM
        assert name in verdict.detail
        assert verdict.detail.count(" is ") == number


def test_every_table_function_and_guard_is_known(database_url: str) -> None:
    """A migration that adds one must say in service/doctor/permissions.py what the service does with it."""
    with psycopg.connect(database_url) as conn:
        tables = {name for (name,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()}
        triggers = conn.execute(
            "SELECT tgname, tgrelid::regclass::text FROM pg_trigger t JOIN pg_proc f ON f.oid = tgfoid"
            " WHERE NOT tgisinternal AND proname LIKE 'refuse\\_%'"
        ).fetchall()
        called = {name for (name,) in conn.execute("SELECT name FROM schema_functions").fetchall()}
    assert tables <= permissions.NEEDED.keys(), "a table that NEEDED does not name"
    assert dict(triggers) == permissions.GUARDS
    assert called == set(permissions.FUNCTIONS)
