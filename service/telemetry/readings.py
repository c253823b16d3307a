"""What is not told but read about once a second: how the pool, the posting queue, breakers and tasks are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from service.concurrency.breaker import Breaker, State
from service.concurrency.spawn import TaskStatus
from service.events.subscription import Ending
from service.telemetry.instruments import Instruments
from service.telemetry.no_metrics import Fed, Hedged, Lagging, Queue


class Growth:
    """How much counters that others keep have grown since the last look; one that is smaller has begun anew."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def by(self, name: str, now: int) -> int:
        """By how much since the last call with `name`; the whole of it the first time."""
        before = self._last.get(name, 0)
        self._last[name] = now
        return now - before if now >= before else now


def read_queue(to: Instruments, statistics: Callable[[], Queue]) -> None:
    """How full the posting queue is."""
    now = statistics()
    to.queue_depth.set(now.buffered)
    to.queue_capacity.set(now.capacity)


def read_pool(to: Instruments, server: str, statistics: Callable[[], Mapping[str, int]], grown: Growth) -> None:
    """The connection pool to `server`, by psycopg_pool's names. (It leaves out what is 0.)"""
    now = statistics()
    size = now.get("pool_size", 0)
    to.pool_open.labels(server).set(size)
    to.pool_in_use.labels(server).set(max(size - now.get("pool_available", 0), 0))
    to.pool_max.labels(server).set(now.get("pool_max", 0))
    to.pool_waiting.labels(server).set(now.get("requests_waiting", 0))
    to.pool_wait_seconds.labels(server).inc(grown.by("wait", now.get("requests_wait_ms", 0)) / 1000)
    to.pool_refusals.labels(server).inc(grown.by("errors", now.get("requests_errors", 0)))
    to.pool_connections_lost.labels(server).inc(grown.by("lost", now.get("connections_lost", 0)))


def read_replica(to: Instruments, server: str, replica: Lagging) -> None:
    """How far it is behind."""
    to.replica_lag.labels(server).set(replica.lag_s)


def read_hedging(to: Instruments, hedging: Hedged, grown: Growth) -> None:
    """How many reads there were, and how many hedges."""
    to.replica_reads.inc(grown.by("reads", hedging.reads))
    to.hedged_reads.inc(grown.by("hedges", hedging.hedges))


def read_feed(to: Instruments, feed: Fed, grown: Growth) -> None:
    """Who listens to events, what was sent, who was let go, and how late the feed is."""
    to.live_clients.set(feed.clients)
    to.live_lag.set(feed.lag_s)
    to.live_events.inc(grown.by("sent", feed.sent))
    for ending, number in feed.ended.items():
        if ending is not Ending.COMPLETE:
            to.live_ended.labels(ending.value).inc(grown.by(ending.value, number))


def read_breakers(to: Instruments, breakers: Iterable[tuple[str, Breaker]]) -> None:
    """How many of each name are in each state."""
    states = [(name, breaker.state) for name, breaker in breakers]
    for name in {name for name, _ in states}:
        for state in State:
            to.breaker_state.labels(name, state.value).set(states.count((name, state)))


def read_tasks(to: Instruments, statuses: Callable[[], Iterable[TaskStatus]], grown: Growth) -> None:
    """How often background tasks were started again."""
    for status in statuses():
        to.task_restarts.labels(status.name).inc(grown.by(status.name, status.failures))
