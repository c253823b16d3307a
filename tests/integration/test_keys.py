"""Keys in PostgreSQL: every change is told, uses are noted, and what would contradict itself is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime

import psycopg
import pytest
from psycopg import errors

from service.concurrency.context import background
from service.errors import Conflict
from service.ledger.grants import Grant
from service.ledger.key_uses import KeyUse
from service.ledger.keys import ApiKey, Keys
from service.ledger.scopes import GRANTABLE
from service.repository.keys import KeyRepository
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder


@pytest.fixture
def repository(pool: Pool) -> KeyRepository:
    """The keys of the test's database."""
    return KeyRepository(pool, Queries(sql_folder() / "queries"))


@pytest.fixture
def key(repository: KeyRepository, db: psycopg.Connection) -> ApiKey:
    """A key of ledger one, which `db` makes."""
    return Keys(repository).create(background(), Grant(scopes=("write",)), ledger="one").key


@pytest.fixture
def listening(database_url: str, key: ApiKey) -> Iterator[psycopg.Connection]:
    """A connection that hears of changes from now on: the key is there."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("LISTEN ledgerd_keys")
        yield conn


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE api_keys SET revoked_at = now()", "UPDATE api_keys SET expires_at = now()", "DELETE FROM api_keys",
        "UPDATE api_keys SET scopes = '{read}'", "UPDATE api_keys SET secret_hash = sha256('')",
        "UPDATE api_keys SET debit_accounts = '{1}'", "UPDATE api_keys SET rate_per_s = 1", "UPDATE api_keys SET burst = 1",
        "UPDATE api_keys SET id = '000000000000'",
    ],
)
def test_whatever_counts_is_told(db: psycopg.Connection, listening: psycopg.Connection, key: ApiKey, change: str) -> None:
    """With the id by which workers keep the key, whoever changes it, by hand too."""
    db.execute(change)
    assert [told.payload for told in listening.notifies(timeout=10, stop_after=1)] == [key.id]


def test_a_use_is_no_change(
    db: psycopg.Connection, listening: psycopg.Connection, repository: KeyRepository, key: ApiKey
) -> None:
    """Else every worker would look every key up again twice a minute."""
    repository.note_key_uses(background(), [KeyUse(key.ledger_id, key.id, 0.0)], 30.0)
    db.execute("UPDATE api_keys SET name = 'new'")
    db.execute("NOTIFY ledgerd_keys, 'end'")
    assert [told.payload for told in listening.notifies(timeout=10, stop_after=1)] == ["end"]


def last_used(db: psycopg.Connection) -> datetime | None:
    """Of the only key."""
    row = db.execute("SELECT last_used_at FROM api_keys").fetchone()
    assert row is not None
    moment: datetime | None = row[0]
    return moment


def test_the_latest_use_stays(db: psycopg.Connection, repository: KeyRepository, key: ApiKey) -> None:
    """An earlier one, or one that is hardly later, changes nothing; another ledger's key of that id is another key."""
    note = repository.note_key_uses
    note(background(), [KeyUse(key.ledger_id, key.id, 100.0)], 30.0)
    first = last_used(db)
    assert first is not None
    for use in (KeyUse(key.ledger_id, key.id, 200.0), KeyUse(key.ledger_id, key.id, 80.0), KeyUse(2, key.id, 0.0)):
        note(background(), [use], 30.0)
        assert last_used(db) == first
    note(background(), [KeyUse(key.ledger_id, key.id, 10.0)], 30.0)
    later = last_used(db)
    assert later is not None
    assert 60 < (later - first).total_seconds() < 120


def test_workers_that_note_the_same_keys_do_not_block_each_other(db: psycopg.Connection, repository: KeyRepository) -> None:
    """Whatever the order in which each of them has used them."""
    keys = Keys(repository)
    made = [keys.create(background(), Grant(scopes=("read",)), ledger="one").key for _ in range(20)]
    failures: list[BaseException] = []

    def note(backwards: bool) -> None:
        try:
            for _ in range(30):
                uses = [KeyUse(key.ledger_id, key.id, 0.0) for key in (reversed(made) if backwards else made)]
                repository.note_key_uses(background(), uses, -1.0)
        except BaseException as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    threads = [threading.Thread(target=note, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert db.execute("SELECT count(*) FROM api_keys WHERE last_used_at IS NULL").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("scopes = '{all}'", "api_keys_scopes_known"), ("scopes = '{}'", "api_keys_scopes_known"),
        ("scopes = '{ledgers:write}'", "api_keys_scopes_known"),
        ("debit_accounts = '{}'", "api_keys_debit_accounts_bounds"), ("rate_per_s = 0", "api_keys_rate_positive"),
        ("burst = -1", "api_keys_rate_positive"),
    ],
)
def test_no_statement_breaks_a_key(db: psycopg.Connection, key: ApiKey, change: str, constraint: str) -> None:
    """The tables know the rules too; every scope that can be given is accepted."""
    with pytest.raises(errors.CheckViolation) as caught:
        db.execute(f"UPDATE api_keys SET {change}")
    assert caught.value.diag.constraint_name == constraint


def test_every_scope_that_can_be_given_can_be_stored(repository: KeyRepository, db: psycopg.Connection) -> None:
    """The list in the migration is the one in the code."""
    made = Keys(repository).create(background(), Grant(scopes=GRANTABLE), ledger="one")
    assert tuple(made.key.scopes) == GRANTABLE


def test_an_unknown_id_is_found_as_a_row_that_no_secret_fits(repository: KeyRepository) -> None:
    """So that to refuse it takes the same work."""
    (found,) = repository.find_credentials(background(), "000000000000")
    assert (found.key_id, found.secret_hash, found.ledger_id) == ("000000000000", bytes(32), 0)


def test_a_key_is_rotated_by_one_of_many_at_once(repository: KeyRepository, key: ApiKey, db: psycopg.Connection) -> None:
    """The others are told that it was; no key is made for them."""
    keys, told = Keys(repository), []

    def rotate() -> None:
        try:
            told.append(keys.rotate(background(), key.id).key.id)
        except Conflict:
            told.append(None)

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(each is None for each in told) == 3
    assert db.execute("SELECT count(*) FROM api_keys").fetchone() == (2,)
