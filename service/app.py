"""The composition root: configuration in, WSGI application out. The only place that wires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIEnvironment

from service.api import create_flask
from service.api.accounts import AccountHandlers
from service.api.cursors import Cursors
from service.api.entries import EntryHandlers
from service.api.health import HealthHandlers
from service.api.hot import hot_routes
from service.api.problem import problem
from service.api.routes import public_paths
from service.api.search import SearchHandlers
from service.api.transfers import TransferHandlers
from service.api.users import UserHandlers
from service.concurrency.context import background, with_timeout
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.config import Config
from service.errors import ConfigurationError
from service.ledger.accounts import Accounts
from service.ledger.entries import Entries
from service.ledger.keys import Keys
from service.ledger.posting import Posting
from service.ledger.search import Search
from service.ledger.transfers import Transfers
from service.ledger.users import Users
from service.middleware.chain import chain
from service.repository.accounts import AccountRepository
from service.repository.entries import EntryRepository
from service.repository.health import HealthRepository
from service.repository.keys import KeyRepository
from service.repository.migrate import find_migrations
from service.repository.pool import Pool
from service.repository.posting import PostingRepository
from service.repository.queries import Queries, sql_folder
from service.repository.search import SearchRepository
from service.repository.transfers import TransferRepository
from service.repository.users import UserRepository

CLOSE_AT_LEAST_S = 1.0  # the pool gets so long to close, even where the tasks have used up the time


class Application:
    """The WSGI application of one process, with the resources it owns.

    `open` before the first request, `drain` when it is to stop, `close` after the last.
    """

    def __init__(self, config: Config) -> None:
        if config.database_url is None:
            raise ConfigurationError("DATABASE_URL is not set: `ledgerd serve` sets it for the embedded PostgreSQL")
        self._pool = Pool(
            config.database_url,
            max_open=config.db_max_open,
            min_idle=config.db_min_idle,
            max_lifetime_s=config.db_max_lifetime_s,
            max_idle_s=config.db_max_idle_s,
            timeout_s=config.timeout_s,
        )
        queries = Queries(sql_folder() / "queries")
        key_repository = KeyRepository(self._pool, queries)
        self._posting = Posting(
            PostingRepository(self._pool, queries), capacity=config.posting_queue, longest_s=config.timeout_s
        )
        self._tasks = Tasks(background())
        self._draining = False
        self._health = HealthRepository(self._pool, queries, find_migrations(sql_folder() / "migrations"))
        cursors = Cursors(lambda ctx: key_repository.find_secret(ctx, "cursor"))
        users = UserHandlers(Users(UserRepository(self._pool, queries)), cursors)
        ledger_accounts = Accounts(AccountRepository(self._pool, queries))
        accounts = AccountHandlers(ledger_accounts, cursors)
        entries = EntryHandlers(Entries(EntryRepository(self._pool, queries)), ledger_accounts, cursors)
        transfers = TransferHandlers(Transfers(TransferRepository(self._pool, queries), self._posting.post), cursors)
        search = SearchHandlers(Search(SearchRepository(self._pool, queries), config.search_timeout_s))
        probes = HealthHandlers(self._health.check, lambda: self._draining)
        queries.check_all_taken()
        resources = (users, accounts, entries, transfers, search, probes)
        self.routes = [route for handlers in resources for route in handlers.routes()]
        self._wsgi = chain(
            hot_routes(create_flask(self.routes), self.routes),
            public_paths=public_paths(self.routes),
            render=problem,
            authenticate=Keys(key_repository).authenticate,
            longest_s=config.timeout_s,
            cors_origins=config.cors_origins,
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._wsgi(environ, start_response)

    def open(self) -> Application:
        """Begin to connect to the database, and start the background tasks."""
        self._pool.open()
        self._tasks.spawn("posting lane", self._posting.run_lane)
        return self

    def check(self, timeout_s: float) -> None:
        """What /readyz asks: raises Unavailable with the reason while this process cannot serve."""
        with with_timeout(background(), timeout_s) as ctx:
            self._health.check(ctx)

    def drain(self) -> None:
        """Say at /readyz that this process is to stop; requests are answered as before."""
        self._draining = True

    def close(self, timeout_s: float) -> list[str]:
        """Post what waits, join the tasks, close the pool; returns the tasks that did not end within `timeout_s` in all."""
        end = monotonic() + timeout_s
        self._posting.close()
        left = self._tasks.stop(timeout_s)
        self._pool.close(max(end - monotonic(), CLOSE_AT_LEAST_S))
        return left


@contextmanager
def open_keys(database_url: str) -> Iterator[Keys]:
    """The key service alone, for commands: one connection, closed at the end."""
    pool = Pool(database_url, max_open=1, min_idle=0, max_lifetime_s=300, max_idle_s=300, timeout_s=30)
    pool.open()
    try:
        yield Keys(KeyRepository(pool, Queries(sql_folder() / "queries")))
    finally:
        pool.close(5)
