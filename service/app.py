"""The composition root: configuration in, WSGI application out. It wires what `database` and `resources` have made."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service import __version__
from service.api import create_flask
from service.api.hot import hot_routes
from service.api.kept_user import KeptUser
from service.api.positions import Positions, carry_positions
from service.api.problem import problem
from service.api.routes import body_limits, public_paths
from service.api.websocket import with_upgrades
from service.concurrency.context import background, with_timeout
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.config import Config
from service.database import Database
from service.events.presence import Presence, own_address
from service.events.registry import HOST_SERVICE
from service.ledger.principal import Principal
from service.ledger.together import LANES
from service.limits.bucket import Limit
from service.limits.file import BucketFile
from service.limits.limiter import Limiter
from service.limits.table import Table
from service.middleware.chain import chain
from service.middleware.environ import ROUTE
from service.middleware.rate_limit import Taken
from service.resources import Resources
from service.telemetry.facade import Telemetry


class Application:
    """The WSGI application of one process, with what it owns; `at_once` is for the request loop to ask before it is called.

    `open` before the first request, `announce` when it is served, `drain` when it is to stop, `close` after the last.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._draining = False
        self._presence: Presence | None = None
        self._seals = config.seal_interval_s > 0
        self._tasks = Tasks(background())
        self.telemetry = Telemetry(log_level=config.log_level, metrics=config.metrics == "on")
        self.database = Database(config)
        self.resources = Resources(config, self.database, self.telemetry, lambda: self._draining)
        self.routes = self.resources.routes
        self.limiter = Limiter(
            Table(BucketFile(config.run_dir)),
            key_limit=Limit(config.rate_limit, config.rate_burst),
            address_limit=Limit(config.address_rate_limit, config.address_rate_burst),
        )
        metrics = self.telemetry.metrics
        observers = self.telemetry.observers()
        check_room = metrics.counting_room(self.resources.posting.check_room)

        def check_room_for(environ: WSGIEnvironment) -> None:
            if environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/api/transfers":
                environ[ROUTE] = "/api/transfers"
                check_room()

        self._wsgi: WSGIApplication = chain(
            carry_positions(
                hot_routes(with_upgrades(create_flask(self.routes), self.routes), self.routes),
                Positions(self.resources.cursors),
            ),
            public_paths=public_paths(self.routes),
            render=problem,
            authenticate=self.resources.authenticator.authenticate,
            longest_s=config.timeout_s,
            body_limits=body_limits(self.routes),
            cors_origins=config.cors_origins,
            trusted_proxies=config.trusted_proxies,
            take_key=self.take_of_key,
            address_buckets=self.limiter,
            on_refusal=metrics.limiter_refused,
            sample=self.telemetry.sample,
            began=metrics.request_began,
            ended=observers,
            check_room=check_room_for,
        )
        self.at_once = KeptUser(
            find_principal=self.resources.authenticator.find_kept,
            find_user=self.resources.user_cache.find_kept,
            take_key=self.take_of_key,
            sample=self.telemetry.sample,
            began=metrics.request_began,
            ended=observers,
        ).answer
        self._watch()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._wsgi(environ, start_response)

    def open(self) -> Application:
        """Begin to connect to the database, and start the background tasks."""
        self.database.open(self._tasks.spawn)
        self._tasks.spawn("posting lane", self.resources.posting.run_lane)
        self._tasks.spawn("live events", self.resources.feed.run)
        self._tasks.spawn("keys of live events", self.resources.key_watch.run)
        self._tasks.spawn("expiry of holds", self.resources.expiry.run)
        self._tasks.spawn("expiry of instances", self.resources.registry.run)
        for number in range(1, LANES + 1):
            self._tasks.spawn(f"user lookups {number}", self.resources.user_lookups.run_lane)
        uses = self.resources.authenticator.uses
        self._tasks.spawn("key uses", lambda ctx: uses.run(ctx, self.resources.key_repository))
        if self._seals:
            self._tasks.spawn("sealing", self.resources.sealing.run)
        self._tasks.spawn("metrics", self.telemetry.metrics.run)
        return self

    def announce(self, bound: object, *, service: str = HOST_SERVICE, advertise: str | None = None) -> None:
        """Be in the registry as an instance of `service` from now on, until `drain`.

        `bound` is what the socket is bound to on which this process serves: the address, unless `advertise` names another,
        which is LEDGERD_ADVERTISE where nothing is given.
        """
        address = own_address(self._config.advertise if advertise is None else advertise, bound)
        if address is not None and self._presence is None:
            self._presence = Presence(
                self.resources.services, service=service, address=address, metadata={"version": __version__}
            )
            self._tasks.spawn("presence", self._presence.run)

    def check(self, timeout_s: float) -> None:
        """What /readyz asks: raises Unavailable with the reason while this process cannot serve."""
        with with_timeout(background(), timeout_s) as ctx:
            self.resources.health.check(ctx)

    def drain(self) -> None:
        """Say at /readyz and in the registry that this process is to stop, and end the streams of events.

        Requests are answered as before.
        """
        self._draining = True
        self.resources.feed.drain()
        if self._presence is not None:
            self._presence.leave()

    def close(self, timeout_s: float) -> list[str]:
        """Post what waits, join the tasks, close all connections; returns what did not end within `timeout_s` in all."""
        end = monotonic() + timeout_s
        self.resources.posting.close()
        self.resources.user_lookups.close()
        left = self._tasks.stop(timeout_s)
        left += self.database.close(max(end - monotonic(), 0.0))
        self.limiter.close()
        self.telemetry.close(max(end - monotonic(), 1.0))
        return left

    def take_of_key(self, principal: Principal) -> Taken:
        """Take a token of a key's rate limit."""
        return self.limiter.take_key(principal.key_id, principal.rate_per_s, principal.burst)

    def _watch(self) -> None:
        metrics = self.telemetry.metrics
        self.telemetry.watch(queue=self.resources.posting.statistics, tasks=self._tasks.statuses)
        if self._seals:
            metrics.watch_sealing(lambda: self.resources.sealing.unsealed_age_s)
        metrics.watch_pool("primary", self.database.pool.statistics)
        metrics.watch_feed(self.resources.feed)
        metrics.watch_hedging(self.database.hedging)
        for replica in self.database.replicas.all:
            server = f"replica {replica.name}"
            metrics.watch_pool(server, replica.pool.statistics)
            metrics.watch_breaker(server, replica.breaker)
            metrics.watch_replica(server, replica)
