"""The services of the ledger, and the resources that offer them over HTTP: what there is of each, made once a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from service.api.accounts import AccountHandlers
from service.api.bulk import BulkHandlers
from service.api.cursors import Cursors
from service.api.document import DocumentHandlers
from service.api.entries import EntryHandlers
from service.api.events import EventHandlers
from service.api.export import ExportHandlers
from service.api.health import HealthHandlers
from service.api.imports import ImportHandlers
from service.api.keys import KeyHandlers
from service.api.ledgers import LedgerHandlers
from service.api.listening import SCOPE as EVENTS_SCOPE
from service.api.listening import Listening
from service.api.metrics import MetricsHandlers
from service.api.resolving import ResolvingHandlers
from service.api.routes import Route
from service.api.seals import SealHandlers
from service.api.search import SearchHandlers
from service.api.services import ServiceHandlers
from service.api.streams import Streams
from service.api.transfers import TransferHandlers
from service.api.users import UserHandlers
from service.api.webhooks import WebhookHandlers
from service.api.websocket import WebSocketHandlers
from service.audit.seal import Seals
from service.audit.sealing import Sealing
from service.concurrency.context import Context
from service.config import Config
from service.database import Database
from service.events.feed import Feed
from service.events.key_watch import KeyWatch
from service.events.registry import Registry
from service.events.subscriptions import Webhooks
from service.events.targets import Addresses
from service.ledger.accounts import Accounts
from service.ledger.authenticator import Authenticator
from service.ledger.bulk import Bulk
from service.ledger.entries import Entries
from service.ledger.expiry import Expiry
from service.ledger.grants import Defaults
from service.ledger.keys import Keys
from service.ledger.ledgers import Ledgers
from service.ledger.posting import Posting
from service.ledger.search import Search
from service.ledger.together import Together
from service.ledger.transfers import Transfers
from service.ledger.user import User
from service.ledger.user_cache import UserCache, UserKey
from service.ledger.users import Users
from service.repository.accounts import AccountRepository
from service.repository.bulk import BulkRepository
from service.repository.dispatching import DispatchRepository
from service.repository.entries import EntryRepository
from service.repository.events import EventRepository
from service.repository.health import HealthRepository
from service.repository.keys import KeyRepository
from service.repository.ledgers import LedgerRepository
from service.repository.migrate import find_migrations
from service.repository.posting import PostingRepository
from service.repository.queries import sql_folder
from service.repository.seals import SealRepository
from service.repository.search import SearchRepository
from service.repository.services import ServiceRepository
from service.repository.transfers import TransferRepository
from service.repository.users import UserRepository
from service.repository.webhooks import WebhookRepository
from service.telemetry.facade import Telemetry
from service.telemetry.readers import Readers

LOOKUPS_WAITING = 1024
STREAMS_AT_ONCE = 2  # each has a connection of the pool for its length


class Handlers(Protocol):
    """What answers for one resource."""

    def routes(self) -> Iterable[Route]: ...

CLOCKS_DIFFER_S = 10.0  # between hosts, at most


class Resources:
    """See the module. `routes` are all there are. Nothing is connected, and no task runs, before the root sees to it."""

    def __init__(self, config: Config, database: Database, telemetry: Telemetry, draining: Callable[[], bool]) -> None:
        pool, reader, queries, metrics = database.pool, database.reader, database.queries, telemetry.metrics
        self.key_repository = KeyRepository(pool, queries)
        self.authenticator = Authenticator(
            self.key_repository, proved_within=database.listener.proved_within, on_lookup=metrics.cache_lookup("api_keys")
        )
        database.listener.on("ledgerd_keys", self.authenticator.drop)
        database.listener.on_lost(self.authenticator.drop_all)
        users = UserRepository(pool, reader, queries)
        self.user_lookups: Together[UserKey, User] = Together(
            self._find_users, capacity=LOOKUPS_WAITING, longest_s=config.timeout_s
        )
        self.user_cache = user_cache = UserCache(
            users, most=config.user_cache, lifetime_s=config.user_cache_ttl_s, look_up=self.user_lookups.find,
            proved_within=database.listener.proved_within, on_lookup=metrics.cache_lookup("users"),
        )
        database.listener.on("ledgerd_users", user_cache.hear)
        database.listener.on_lost(user_cache.drop_all)
        self.posting = Posting(
            PostingRepository(pool, queries),
            capacity=config.posting_queue, longest_s=config.timeout_s, on_batch=telemetry.batch_ended,
        )
        bulk = Bulk(
            BulkRepository(pool, queries), longest_s=config.timeout_s,
            do_others_post=self.posting.is_in_use, on_chunk=metrics.chunk_posted,
        )
        self.health = HealthRepository(pool, queries, find_migrations(sql_folder() / "migrations"))
        self.cursors = cursors = Cursors(lambda ctx: self.key_repository.find_secret(ctx, "cursor"))
        seals = SealRepository(pool, reader, queries)
        self.sealing = Sealing(seals, interval_s=config.seal_interval_s)
        self.events = EventRepository(pool, queries)
        self.feed = Feed(self.events, most=config.live_clients, on_told=metrics.event_told)
        self.key_watch = KeyWatch(self.authenticator.authenticate, EVENTS_SCOPE, self.feed.let_go)
        self.listening = Listening(self.feed, self.events, self.key_watch)
        self.services = ServiceRepository(pool, queries)
        self.registry = Registry(self.services)
        webhooks = Webhooks(WebhookRepository(pool, queries), self.events, Addresses(config.webhook_networks))
        accounts = Accounts(AccountRepository(pool, reader, queries))
        post_group = metrics.counting_group(self.posting.post_group)
        transfer_repository = TransferRepository(pool, reader, queries)
        self.expiry = Expiry(transfer_repository, self.posting.post_group, metrics.holds_expired)
        transfers = Transfers(transfer_repository, metrics.counting(self.posting.post), post_group)
        resources: list[Handlers] = [
            UserHandlers(Users(users, user_cache), cursors),
            AccountHandlers(accounts, cursors),
            EntryHandlers(Entries(EntryRepository(reader, queries, final_after_s=_final_after_s(config))), accounts, cursors),
            TransferHandlers(transfers, cursors),
            ResolvingHandlers(transfers, cursors),
            BulkHandlers(bulk, cursors),
            ImportHandlers(bulk, cursors, longest_s=config.import_timeout_s, draining=draining),
            ExportHandlers(transfers, Streams(most=STREAMS_AT_ONCE, longest_s=config.export_timeout_s)),
            EventHandlers(self.listening, heartbeat_s=config.live_heartbeat_s),
            WebSocketHandlers(self.listening, heartbeat_s=config.live_heartbeat_s),
            SearchHandlers(Search(SearchRepository(reader, queries), config.search_timeout_s)),
            WebhookHandlers(webhooks, cursors),
            SealHandlers(Seals(seals), cursors),
            ServiceHandlers(self.registry, cursors),
            LedgerHandlers(Ledgers(LedgerRepository(pool, queries)), cursors),
            KeyHandlers(Keys(self.key_repository, Defaults(config.rate_limit, config.rate_burst)), cursors),
            HealthHandlers(self.health.check, draining),
            DocumentHandlers(lambda: self.routes),
        ]
        if metrics.on:
            resources.append(MetricsHandlers(metrics.render, Readers(config.metrics_from).include))
        DispatchRepository(pool, queries)  # of another process: here its queries are checked with the others
        queries.check_all_taken()
        self.routes: list[Route] = [route for handlers in resources for route in handlers.routes()]

    def _find_users(self, ctx: Context, keys: Sequence[UserKey]) -> Mapping[UserKey, User]:
        """For the lookups that the cache itself asks for, which is made after them."""
        return self.user_cache.find_many(ctx, keys)


def _final_after_s(config: Config) -> float:
    """By then a batch has been committed or given up, and is on every replica that is read, though two clocks may differ."""
    return config.timeout_s + config.replica_max_lag_s + CLOCKS_DIFFER_S
