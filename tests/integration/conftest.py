"""The repository on the test's database, and accounts made as the tests need them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from service.ledger.model import Model, ModelAccount
from service.repository.pool import Pool
from service.repository.posting import PostingRepository
from service.repository.queries import Queries, sql_folder


@contextmanager
def open_pool(url: str, *, max_open: int = 4, min_idle: int = 1, timeout_s: float = 10) -> Iterator[Pool]:
    """A pool for the block."""
    pool = Pool(url, max_open=max_open, min_idle=min_idle, max_lifetime_s=300, max_idle_s=300, timeout_s=timeout_s)
    pool.open()
    try:
        yield pool
    finally:
        pool.close(10)


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    """An open pool on a fresh database."""
    with open_pool(database_url) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool) -> PostingRepository:
    """What posts batches."""
    return PostingRepository(pool, Queries(sql_folder() / "queries"))


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the test's own, in autocommit mode, with two ledgers made."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO ledgers (name) VALUES ('one'), ('two')")
        yield conn


def insert_accounts(db: psycopg.Connection, model: Model, accounts: dict[tuple[int, int], ModelAccount]) -> None:
    """Put the same accounts, under the ids given, into the database and into the model."""
    for (ledger_id, account_id), a in accounts.items():
        db.execute(
            "INSERT INTO accounts (ledger_id, id, asset, balance, held, min_balance, max_balance, status)"
            " OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (ledger_id, account_id, a.asset, a.balance, a.held, a.min_balance, a.max_balance, a.status),
        )
        model.accounts[ledger_id, account_id] = a
