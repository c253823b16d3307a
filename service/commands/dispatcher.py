"""`ledgerd dispatcher`: delivers webhooks, as a process of its own, until a signal. The composition root of that process.

It runs on threads: nearly all that it does is wait for others, for as many of them as it has workers, and a name's look-up or
a TLS handshake, which block in C, then hold up one worker and not all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.calls import to_json
from service.api.metrics import TEXT_FORMAT
from service.api.representation import show_event
from service.concurrency.clock import SYSTEM_CLOCK
from service.concurrency.context import background
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.config import DISPATCHER_CONNECTIONS, Config
from service.errors import ConfigurationError
from service.events.attempt import Attempts
from service.events.connections import Connections
from service.events.delivery import Sender
from service.events.discovery import Discovery
from service.events.dispatcher import Dispatcher
from service.events.held import Pace
from service.events.lookup import Lookups
from service.events.targets import Addresses
from service.repository.dispatching import DispatchRepository
from service.repository.events import EventRepository
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.services import ServiceRepository
from service.server.notify import Notifier
from service.server.probes import Probes
from service.server.signals import Signals
from service.telemetry.logging import configure_logging
from service.telemetry.readers import Readers
from service.telemetry.webhooks import WebhookMetrics

log = logging.getLogger("ledgerd.dispatcher")

WATCH_S = 1.0
STATEMENT_TIMEOUT_S = 30.0
SPARE_S = 5.0  # for what the attempts under way leave to write
CUT = 1


def run_dispatcher(config: Config, env: MutableMapping[str, str], say: Callable[[str], None]) -> int:
    """Deliver until SIGTERM or SIGINT; the exit status: 1 where attempts had to be cut off. Raises ConfigurationError."""
    if config.database_url is None:
        raise ConfigurationError("DATABASE_URL is not set: `ledgerd serve` sets it for the embedded PostgreSQL")
    configure_logging(config.log_level)
    systemd = Notifier.take_from(env)
    signals = Signals()
    tasks = Tasks(background())
    connections = Connections()
    with _opened(config, config.database_url, connections) as dispatcher:
        tasks.spawn("dispatcher", dispatcher.run)
        tasks.spawn("idle connections", connections.run)
        if config.dispatcher_metrics_bind is not None:
            tasks.spawn("probes", Probes(_probed(config, dispatcher), config.dispatcher_metrics_bind).run)
        say("webhooks are delivered")
        systemd.send(READY=1)
        turns = -1
        while not signals.came:
            if dispatcher.turns != turns:  # one that hangs is systemd's to replace
                turns = dispatcher.turns
                told = dispatcher.told
                systemd.send(WATCHDOG=1, STATUS=f"{told.webhooks} webhooks, {told.outstanding} events wait")
            signals.sleep(WATCH_S)
        systemd.send(STOPPING=1, STATUS="stopping")
        say("stopping: attempts under way are finished (once more Ctrl-C or SIGTERM stops at once)")
        left = _stop(tasks, signals, config.shutdown_timeout_s + SPARE_S)
    if left:
        log.error("did not end in time: %s", ", ".join(left))
    return CUT if left else 0


@contextmanager
def _opened(config: Config, url: str, connections: Connections) -> Iterator[Dispatcher]:
    queries = Queries(sql_folder() / "queries")
    pool = Pool(
        url, max_open=DISPATCHER_CONNECTIONS, min_idle=1, max_lifetime_s=config.db_max_lifetime_s,
        max_idle_s=config.db_max_idle_s, timeout_s=STATEMENT_TIMEOUT_S,
    )
    pool.open()
    lookups = Lookups(background())
    try:
        yield make_dispatcher(config, pool, queries, lookups, connections)
    finally:
        connections.close()
        lookups.close()
        pool.close(SPARE_S)


def make_dispatcher(
    config: Config, pool: Pool, queries: Queries, lookups: Lookups, connections: Connections
) -> Dispatcher:
    """The dispatcher of `config`, not started."""
    pace = Pace(
        timeout_s=config.webhook_timeout_s, base_s=config.webhook_backoff_s, cap_s=config.webhook_backoff_cap_s,
        attempts=config.webhook_attempts, lease_s=config.webhook_lease_s, workers=config.webhook_workers,
        each_target=config.webhook_target_workers, open_s=config.webhook_breaker_s,
    )
    events = EventRepository(pool, queries)
    attempts = Attempts(
        send=Sender(Addresses(config.webhook_networks), lookups, connections=connections).send,
        render=lambda event: to_json(show_event(event)),
        events=events, discover=Discovery(ServiceRepository(pool, queries)).choose,
        timeout_s=pace.timeout_s, clock=SYSTEM_CLOCK,
    )
    return Dispatcher(
        store=DispatchRepository(pool, queries), events=events, attempts=attempts, pace=pace,
        drain_s=config.shutdown_timeout_s,
    )


def _probed(config: Config, dispatcher: Dispatcher) -> WSGIApplication:
    """/metrics, for those who may read them; any other path of `Probes` is answered 200."""
    metrics, may_read = WebhookMetrics(dispatcher.told), Readers(config.metrics_from).include
    dispatcher.on_attempt = metrics.attempted

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not may_read(environ["REMOTE_ADDR"]):
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        body = metrics.render() if environ["PATH_INFO"] == "/metrics" else b"ok\n"
        start_response("200 OK", [("Content-Type", TEXT_FORMAT), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _stop(tasks: Tasks, signals: Signals, timeout_s: float) -> list[str]:
    end, left = monotonic() + timeout_s, ["dispatcher"]
    while left and not signals.hurry and monotonic() < end:
        left = tasks.stop(WATCH_S / 4)
    return left
