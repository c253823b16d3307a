"""The settled horizon, against transactions that really run beside each other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from service.concurrency.context import background
from service.repository.horizon import Horizon
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from tests.seals import move, open_accounts


@pytest.fixture
def horizon() -> Horizon:
    """One that knows nothing yet."""
    return Horizon(Queries(sql_folder() / "queries"))


def advance(horizon: Horizon, pool: Pool) -> int:
    """Look again."""
    with pool.connection(background()) as conn:
        return horizon.advance(conn)


@contextmanager
def transaction(url: str) -> Iterator[psycopg.Connection]:
    """A transaction that is committed at the end."""
    with psycopg.connect(url) as conn:
        yield conn


def test_an_empty_log_is_settled_at_nothing(pool: Pool, horizon: Horizon) -> None:
    """0, also at the second look."""
    assert [advance(horizon, pool) for _ in range(2)] == [0, 0]


def test_what_is_committed_is_settled_at_once(pool: Pool, db: psycopg.Connection, horizon: Horizon) -> None:
    """One look is enough where nobody is writing."""
    source, target = open_accounts(db)
    opened = advance(horizon, pool)  # to open an account draws an id, too
    ids = [move(db, source, target) for _ in range(3)]
    assert advance(horizon, pool) == ids[-1] == opened + 3


def test_nothing_at_or_beyond_an_open_id_is_settled(
    database_url: str, pool: Pool, db: psycopg.Connection, horizon: Horizon
) -> None:
    """A transaction has drawn an id and stays open while others commit above it; when it ends, all of them are settled."""
    accounts = open_accounts(db, count=4)
    before = move(db, *accounts[:2])
    with transaction(database_url) as slow:
        waiting = move(slow, *accounts[:2])
        beyond = [move(db, *accounts[2:]) for _ in range(3)]
        assert before < waiting < min(beyond)
        assert [advance(horizon, pool) for _ in range(3)] == [0, 0, 0]
    assert advance(horizon, pool) == max(beyond)


def test_a_transaction_that_began_after_the_mark_does_not_hold_it_up(
    database_url: str, pool: Pool, db: psycopg.Connection, horizon: Horizon
) -> None:
    """Writers that overlap without end would otherwise put the horizon off for ever."""
    accounts = open_accounts(db, count=4)
    with transaction(database_url) as first:
        last = move(first, *accounts[:2])
        assert advance(horizon, pool) == 0  # the mark is made here
        second = psycopg.connect(database_url)
        later = move(second, *accounts[2:])
    assert advance(horizon, pool) == last
    assert advance(horizon, pool) == last
    second.commit()
    second.close()
    assert advance(horizon, pool) == later


def test_an_id_that_is_never_used_is_settled_too(
    database_url: str, pool: Pool, db: psycopg.Connection, horizon: Horizon
) -> None:
    """A transaction that is rolled back leaves a gap."""
    source, target = open_accounts(db)
    lost = psycopg.connect(database_url)
    drawn = move(lost, source, target)
    assert advance(horizon, pool) == 0
    lost.rollback()
    lost.close()
    assert advance(horizon, pool) == drawn


def test_a_database_that_was_set_back_is_looked_at_anew(pool: Pool, db: psycopg.Connection, horizon: Horizon) -> None:
    """What was settled there before is not settled now."""
    source, target = open_accounts(db)
    *_, last = [move(db, source, target) for _ in range(5)]
    assert advance(horizon, pool) == last
    db.execute("SELECT setval('transfers_id_seq', 2)")
    assert advance(horizon, pool) == 2


@pytest.mark.parametrize("seed", range(3))
def test_no_row_appears_below_the_horizon(
    database_url: str, pool: Pool, db: psycopg.Connection, horizon: Horizon, seed: int
) -> None:
    """Eight writers begin, post and end in any order: what a reader finds up to the horizon never changes afterwards."""
    chance = random.Random(seed)
    accounts = open_accounts(db, count=16)
    read: list[int] = []
    with ExitStack() as stack:
        writers = [stack.enter_context(psycopg.connect(database_url)) for _ in range(8)]
        for _ in range(200):
            number = chance.randrange(8)
            action = chance.choice(("move", "move", "commit", "rollback"))
            if action == "move":
                move(writers[number], accounts[2 * number], accounts[2 * number + 1])
            elif action == "commit":
                writers[number].commit()
            else:
                writers[number].rollback()
            read += rows_up_to(db, advance(horizon, pool), read)
        for writer in writers:
            writer.commit()
    read += rows_up_to(db, advance(horizon, pool), read)
    assert read == rows_up_to(db, 2**62, [])
    assert len(read) > 20


def rows_up_to(db: psycopg.Connection, settled: int, read: list[int]) -> list[int]:
    """What a reader finds next that has read so far."""
    query = "SELECT id FROM transfers WHERE id > %s AND id <= %s ORDER BY id"
    return [row[0] for row in db.execute(query, (read[-1] if read else 0, settled))]
