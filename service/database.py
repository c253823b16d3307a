"""What a process has of the database: its connections to the primary and to each replica, who reads, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.concurrency.context import background
from service.concurrency.primitives import monotonic
from service.config import Config
from service.errors import ConfigurationError, NotFound
from service.ledger.bulk import Bulk
from service.ledger.keys import Keys
from service.ledger.ledgers import Ledger, Ledgers
from service.repository.bulk import BulkRepository
from service.repository.hedging import Hedging
from service.repository.keys import KeyRepository
from service.repository.ledgers import LedgerRepository
from service.repository.listener import Listener
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.reader import Reader
from service.repository.replica import Replica
from service.repository.replicas import Replicas
from service.repository.transfers import TransferRepository

STATEMENT_TIMEOUT_S = 30.0  # of commands
CLOSE_AT_LEAST_S = 1.0  # pools get so long to close, even where the tasks have used up the time


class Database:
    """Nothing connects before `open`. Raises ConfigurationError for settings without DATABASE_URL."""

    def __init__(self, config: Config) -> None:
        if config.database_url is None:
            raise ConfigurationError("DATABASE_URL is not set: `ledgerd serve` sets it for the embedded PostgreSQL")
        self.queries = Queries(sql_folder() / "queries")
        self.pool = _pool(config, config.database_url)
        replicas = [Replica(str(number), _pool(config, url)) for number, url in enumerate(config.replica_urls, 1)]
        self.replicas = Replicas(self.pool, replicas, self.queries, max_lag_s=config.replica_max_lag_s)
        self.hedging = Hedging(config.hedge_after_s)
        self.reader = Reader(self.pool, self.queries, self.replicas, self.hedging)
        self.listener = Listener(config.database_url, self.pool, self.queries)

    def open(self, spawn: Callable[..., object]) -> None:
        """Begin to connect; `spawn` starts the background tasks."""
        for pool in self._pools():
            pool.open()
        spawn("listener", self.listener.run)
        if self.replicas.all:
            spawn("replicas", self.replicas.run)

    def close(self, timeout_s: float) -> list[str]:
        """Close every connection; returns what did not end in time."""
        end = monotonic() + timeout_s
        for pool in self._pools():
            pool.close(max(end - monotonic(), CLOSE_AT_LEAST_S))
        return [] if self.reader.close(max(end - monotonic(), CLOSE_AT_LEAST_S)) else ["reads that lost a race"]

    def _pools(self) -> list[Pool]:
        return [self.pool, *(replica.pool for replica in self.replicas.all)]


def _pool(config: Config, url: str) -> Pool:
    return Pool(
        url,
        max_open=config.db_max_open,
        min_idle=config.db_min_idle,
        max_lifetime_s=config.db_max_lifetime_s,
        max_idle_s=config.db_max_idle_s,
        timeout_s=config.timeout_s,
    )


@contextmanager
def open_keys(database_url: str) -> Iterator[Keys]:
    """The key service alone, for commands: one connection, closed at the end."""
    with _open_pool(database_url) as pool:
        yield Keys(KeyRepository(pool, Queries(sql_folder() / "queries")))


@contextmanager
def open_ledgers(database_url: str) -> Iterator[Ledgers]:
    """The ledgers alone, likewise."""
    with _open_pool(database_url) as pool:
        yield Ledgers(LedgerRepository(pool, Queries(sql_folder() / "queries")))


@dataclass(frozen=True, slots=True)
class Files:
    """What commands that read or write files of transfers use of a ledger."""

    ledger: Ledger
    bulk: Bulk
    transfers: TransferRepository


@contextmanager
def open_files(database_url: str, ledger: str) -> Iterator[Files]:
    """For the ledger of that name, likewise. Raises NotFound."""
    with _open_pool(database_url) as pool:
        queries = Queries(sql_folder() / "queries")
        found = LedgerRepository(pool, queries).find_ledger_named(background(), ledger)
        if found is None:
            raise NotFound(f"There is no ledger {ledger!r}; `ledgerd ledger list` shows those that there are.")
        bulk = Bulk(BulkRepository(pool, queries), longest_s=STATEMENT_TIMEOUT_S)
        yield Files(found, bulk, TransferRepository(pool, Reader(pool, queries), queries))


@contextmanager
def _open_pool(database_url: str) -> Iterator[Pool]:
    pool = Pool(database_url, max_open=1, min_idle=0, max_lifetime_s=300, max_idle_s=300, timeout_s=STATEMENT_TIMEOUT_S)
    pool.open()
    try:
        yield pool
    finally:
        pool.close(5)
