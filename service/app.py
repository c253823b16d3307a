"""The composition root: configuration in, WSGI application out. The only place that wires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIEnvironment

from service.api import create_flask
from service.api.accounts import AccountHandlers
from service.api.cursors import Cursors
from service.api.document import DocumentHandlers
from service.api.entries import EntryHandlers
from service.api.export import ExportHandlers
from service.api.health import HealthHandlers
from service.api.hot import hot_routes
from service.api.keys import KeyHandlers
from service.api.ledgers import LedgerHandlers
from service.api.metrics import MetricsHandlers
from service.api.positions import Positions, carry_positions
from service.api.problem import problem
from service.api.routes import public_paths
from service.api.search import SearchHandlers
from service.api.streams import Streams
from service.api.transfers import TransferHandlers
from service.api.users import UserHandlers
from service.concurrency.context import background, with_timeout
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.config import Config
from service.errors import ConfigurationError
from service.ledger.accounts import Accounts
from service.ledger.authenticator import Authenticator
from service.ledger.entries import Entries
from service.ledger.grants import Defaults
from service.ledger.keys import Keys
from service.ledger.ledgers import Ledgers
from service.ledger.posting import Posting
from service.ledger.principal import Principal
from service.ledger.search import Search
from service.ledger.transfers import Transfers
from service.ledger.users import Users
from service.limits.bucket import Limit
from service.limits.file import BucketFile
from service.limits.limiter import Limiter
from service.limits.table import Table
from service.middleware.chain import chain
from service.middleware.rate_limit import Taken
from service.repository.accounts import AccountRepository
from service.repository.entries import EntryRepository
from service.repository.health import HealthRepository
from service.repository.hedging import Hedging
from service.repository.keys import KeyRepository
from service.repository.ledgers import LedgerRepository
from service.repository.listener import Listener
from service.repository.migrate import find_migrations
from service.repository.pool import Pool
from service.repository.posting import PostingRepository
from service.repository.queries import Queries, sql_folder
from service.repository.reader import Reader
from service.repository.replica import Replica
from service.repository.replicas import Replicas
from service.repository.search import SearchRepository
from service.repository.transfers import TransferRepository
from service.repository.users import UserRepository
from service.telemetry.facade import Telemetry
from service.telemetry.readers import Readers

STREAMS_AT_ONCE = 2  # each has a connection of the pool for its length
CLOSE_AT_LEAST_S = 1.0  # the pool gets so long to close, even where the tasks have used up the time


class Application:
    """The WSGI application of one process, with the resources it owns.

    `open` before the first request, `drain` when it is to stop, `close` after the last.
    """

    def __init__(self, config: Config) -> None:
        if config.database_url is None:
            raise ConfigurationError("DATABASE_URL is not set: `ledgerd serve` sets it for the embedded PostgreSQL")
        self.telemetry = Telemetry(log_level=config.log_level, metrics=config.metrics == "on")
        metrics = self.telemetry.metrics
        self._tasks = Tasks(background())
        self._pool = _pool(config, config.database_url)
        queries = Queries(sql_folder() / "queries")
        self._replicas = _replicas(config, self._pool, queries)
        reader = self._reader = Reader(self._pool, queries, self._replicas, Hedging(config.hedge_after_s))
        self._listener = Listener(config.database_url, self._pool, queries)
        self._key_repository = KeyRepository(self._pool, queries)
        self._authenticator = Authenticator(
            self._key_repository, proved_within=self._listener.proved_within, on_lookup=metrics.cache_lookup("api_keys")
        )
        self._listener.on("ledgerd_keys", self._authenticator.drop)
        self._listener.on_lost(self._authenticator.drop_all)
        self._posting = Posting(
            PostingRepository(self._pool, queries),
            capacity=config.posting_queue,
            longest_s=config.timeout_s,
            on_batch=self.telemetry.batch_ended,
        )
        self._draining = False
        self._health = HealthRepository(self._pool, queries, find_migrations(sql_folder() / "migrations"))
        self._limiter = Limiter(
            Table(BucketFile(config.run_dir)),
            key_limit=Limit(config.rate_limit, config.rate_burst),
            address_limit=Limit(config.address_rate_limit, config.address_rate_burst),
        )
        cursors = Cursors(lambda ctx: self._key_repository.find_secret(ctx, "cursor"))
        users = UserHandlers(Users(UserRepository(self._pool, reader, queries)), cursors)
        ledger_accounts = Accounts(AccountRepository(self._pool, reader, queries))
        accounts = AccountHandlers(ledger_accounts, cursors)
        entries = EntryHandlers(Entries(EntryRepository(reader, queries)), ledger_accounts, cursors)
        post = metrics.counting(self._posting.post)
        ledger_transfers = Transfers(TransferRepository(self._pool, reader, queries), post)
        transfers = TransferHandlers(ledger_transfers, cursors)
        exports = ExportHandlers(ledger_transfers, Streams(most=STREAMS_AT_ONCE, longest_s=config.export_timeout_s))
        ledgers = LedgerHandlers(Ledgers(LedgerRepository(self._pool, queries)), cursors)
        keys = KeyHandlers(Keys(self._key_repository, Defaults(config.rate_limit, config.rate_burst)), cursors)
        search = SearchHandlers(Search(SearchRepository(reader, queries), config.search_timeout_s))
        probes = HealthHandlers(self._health.check, lambda: self._draining)
        shown = MetricsHandlers(metrics.render, Readers(config.metrics_from).include)
        documents = DocumentHandlers(lambda: self.routes)
        queries.check_all_taken()
        resources = (users, accounts, entries, transfers, exports, search, ledgers, keys, probes, documents)
        self.routes = [route for handlers in resources for route in handlers.routes()]
        self.routes += shown.routes() if metrics.on else ()
        self._wsgi = chain(
            carry_positions(hot_routes(create_flask(self.routes), self.routes), Positions(cursors)),
            public_paths=public_paths(self.routes),
            render=problem,
            authenticate=self._authenticator.authenticate,
            longest_s=config.timeout_s,
            cors_origins=config.cors_origins,
            trusted_proxies=config.trusted_proxies,
            take_key=self._take_of_key,
            address_buckets=self._limiter,
            on_refusal=metrics.limiter_refused,
            sample=self.telemetry.sample,
            began=metrics.request_began,
            ended=self.telemetry.observers(),
        )
        self._watch()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._wsgi(environ, start_response)

    def _take_of_key(self, principal: Principal) -> Taken:
        return self._limiter.take_key(principal.key_id, principal.rate_per_s, principal.burst)

    def open(self) -> Application:
        """Begin to connect to the database, and start the background tasks."""
        for pool in self._pools():
            pool.open()
        self._tasks.spawn("posting lane", self._posting.run_lane)
        self._tasks.spawn("listener", self._listener.run)
        self._tasks.spawn("key uses", lambda ctx: self._authenticator.uses.run(ctx, self._key_repository))
        self._tasks.spawn("metrics", self.telemetry.metrics.run)
        if self._replicas.all:
            self._tasks.spawn("replicas", self._replicas.run)
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
        for pool in self._pools():
            pool.close(max(end - monotonic(), CLOSE_AT_LEAST_S))
        if not self._reader.close(max(end - monotonic(), CLOSE_AT_LEAST_S)):
            left.append("reads that lost a race")
        self._limiter.close()
        self.telemetry.close(max(end - monotonic(), CLOSE_AT_LEAST_S))
        return left

    def _watch(self) -> None:
        self.telemetry.watch(queue=self._posting.statistics, tasks=self._tasks.statuses)
        metrics = self.telemetry.metrics
        metrics.watch_pool("primary", self._pool.statistics)
        for replica in self._replicas.all:
            server = f"replica {replica.name}"
            metrics.watch_pool(server, replica.pool.statistics)
            metrics.watch_breaker(server, replica.breaker)
            metrics.watch_replica(server, replica)

    def _pools(self) -> list[Pool]:
        return [self._pool, *(replica.pool for replica in self._replicas.all)]


def _pool(config: Config, url: str) -> Pool:
    return Pool(
        url,
        max_open=config.db_max_open,
        min_idle=config.db_min_idle,
        max_lifetime_s=config.db_max_lifetime_s,
        max_idle_s=config.db_max_idle_s,
        timeout_s=config.timeout_s,
    )


def _replicas(config: Config, primary: Pool, queries: Queries) -> Replicas:
    replicas = [Replica(str(number), _pool(config, url)) for number, url in enumerate(config.replica_urls, 1)]
    return Replicas(primary, replicas, queries, max_lag_s=config.replica_max_lag_s)


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


@contextmanager
def _open_pool(database_url: str) -> Iterator[Pool]:
    pool = Pool(database_url, max_open=1, min_idle=0, max_lifetime_s=300, max_idle_s=300, timeout_s=30)
    pool.open()
    try:
        yield pool
    finally:
        pool.close(5)
