"""Every metric of ledgerd, and what is to be told so that it is counted. docs/operations.md has a table of them.

The callables here are passed inward by the composition root; nobody else knows prometheus_client. What others can tell of
themselves (the pool, the posting queue, breakers, tasks) is read about once a second, in each worker: none can be asked by
another. No label holds what a client chose: methods and routes are from fixed lists, and there are no ids.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from service import __version__
from service.concurrency.breaker import Breaker, State
from service.concurrency.context import Context
from service.concurrency.primitives import Parking, RLock
from service.concurrency.spawn import TaskStatus
from service.errors import LedgerdError
from service.ledger.posting import BatchReport
from service.ledger.transfers import Outcome, PostRequest, Refused
from service.middleware.environ import ROUTE
from service.telemetry.instruments import BATCH_SIZES, REQUEST_S, WAIT_S, Instruments
from service.telemetry.multiprocess import FOLDER, NUMBER
from service.telemetry.tally import Counts, Distribution

REFRESH_S = 1.0
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD, NO_ROUTE = "other", "none"

Post = Callable[[Context, PostRequest], Outcome]


class Queue(Protocol):
    """What the posting queue tells of itself."""

    @property
    def buffered(self) -> int: ...
    @property
    def capacity(self) -> int: ...


class NoMetrics:
    """LEDGERD_METRICS=off: whoever tells something is not heard. The interface of Metrics."""

    on = False

    def request_began(self) -> None:
        """A request came in."""

    def request_ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        """See middleware.observation."""

    def counting(self, post: Post) -> Post:
        """`post`, with the outcome of each transfer counted."""
        return post

    def batch_ended(self, batch: BatchReport) -> None:
        """A posting lane is done with a batch."""

    def cache_lookup(self, cache: str) -> Callable[[bool], None]:
        """What to call with whether a lookup in the cache of that name was a hit."""
        return lambda _was_hit: None

    def limiter_refused(self, kind: str) -> None:
        """A limiter has refused a request; `kind` is one of the limiter's own names."""

    def watch_queue(self, statistics: Callable[[], Queue]) -> None:
        """Read the posting queue's fill from `statistics`."""

    def watch_pool(self, statistics: Callable[[], Mapping[str, int]]) -> None:
        """Read the connection pool's counters, by psycopg_pool's names, from `statistics`."""

    def watch_breaker(self, name: str, breaker: Breaker) -> None:
        """Read the state of `breaker`; several of one name are counted together."""

    def watch_tasks(self, statuses: Callable[[], Iterable[TaskStatus]]) -> None:
        """Read from `statuses` how often background tasks were started again."""

    def watch_dropped_lines(self, dropped: Callable[[], int]) -> None:
        """Read the number of log lines that could not be written."""

    def refresh(self) -> None:
        """Write what was counted, and read what is watched."""

    def run(self, ctx: Context) -> None:
        """Refresh about once a second: the body of a background task."""

    def render(self) -> bytes:
        """All of it, of all workers, in Prometheus' text format. Raises LookupError while metrics are off."""
        raise LookupError("metrics are off")


class Metrics(NoMetrics):
    """The metrics of this process, or of all workers that share the folder in PROMETHEUS_MULTIPROC_DIR."""

    on = True

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._folder = env.get(FOLDER)
        if self._folder is not None:
            number = env[NUMBER]
            values.ValueClass = values.MultiProcessValue(process_identifier=lambda: number)  # type: ignore[no-untyped-call]
        else:
            values.ValueClass = values.MutexValue
        self._registry = CollectorRegistry()
        self._instruments = Instruments(None if self._folder else self._registry)
        self._lock = RLock()
        self._in_flight = 0
        self._requests: dict[tuple[str, str, int], _Requests] = {}
        self._waits, self._sizes, self._batch_s = (Distribution(bounds) for bounds in (WAIT_S, BATCH_SIZES, REQUEST_S))
        o = self._instruments
        self._transfers: Counts[tuple[str, str]] = Counts(lambda labels: o.transfers.labels(*labels))
        self._lookups: Counts[tuple[str, str]] = Counts(lambda labels: o.cache_lookups.labels(*labels))
        self._refusals: Counts[str] = Counts(o.limiter_refusals.labels)
        self._readings: list[Callable[[], None]] = []
        self._breakers: list[tuple[str, Breaker]] = []
        o.build_info.labels(__version__, platform.python_version()).set(1)
        o.workers.set(1)

    def request_began(self) -> None:
        with self._lock:
            self._in_flight += 1

    def request_ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        method, length = environ["REQUEST_METHOD"], environ.get("CONTENT_LENGTH")
        key = (method if method in METHODS else OTHER_METHOD, environ.get(ROUTE, NO_ROUTE), status)
        with self._lock:
            self._in_flight -= 1
            requests = self._requests.get(key)
            if requests is None:
                requests = self._requests[key] = _Requests()
            requests.seconds.observe(duration_s)
            requests.sent += sent
            if length and length.isdecimal():
                requests.received += int(length)

    def counting(self, post: Post) -> Post:
        add, posted, replayed = self._transfers.add, ("posted", ""), ("replayed", "")

        def counted(ctx: Context, request: PostRequest) -> Outcome:
            try:
                outcome = post(ctx, request)
            except LedgerdError as error:
                add(("failed", error.code))
                raise
            if isinstance(outcome, Refused):
                add(("refused", outcome.code))
            else:
                add(replayed if outcome.replayed else posted)
            return outcome

        return counted

    def batch_ended(self, batch: BatchReport) -> None:
        with self._lock:
            self._sizes.observe(len(batch.waited_s))
            self._batch_s.observe(batch.took_s)
            for waited_s in batch.waited_s:
                self._waits.observe(waited_s)

    def cache_lookup(self, cache: str) -> Callable[[bool], None]:
        add, hit, miss = self._lookups.add, (cache, "hit"), (cache, "miss")
        return lambda was_hit: add(hit if was_hit else miss)

    def limiter_refused(self, kind: str) -> None:
        self._refusals.add(kind)

    def watch_queue(self, statistics: Callable[[], Queue]) -> None:
        def read() -> None:
            now = statistics()
            self._instruments.queue_depth.set(now.buffered)
            self._instruments.queue_capacity.set(now.capacity)

        self._readings.append(read)

    def watch_pool(self, statistics: Callable[[], Mapping[str, int]]) -> None:
        grown, o = _Growth(), self._instruments

        def read() -> None:
            now = statistics()
            size = now.get("pool_size", 0)
            o.pool_open.set(size)
            o.pool_in_use.set(max(size - now.get("pool_available", 0), 0))
            o.pool_max.set(now.get("pool_max", 0))
            o.pool_waiting.set(now.get("requests_waiting", 0))
            o.pool_wait_seconds.inc(grown.by("wait", now.get("requests_wait_ms", 0)) / 1000)
            o.pool_refusals.inc(grown.by("errors", now.get("requests_errors", 0)))
            o.pool_connections_lost.inc(grown.by("lost", now.get("connections_lost", 0)))

        self._readings.append(read)

    def watch_breaker(self, name: str, breaker: Breaker) -> None:
        self._breakers.append((name, breaker))

    def watch_tasks(self, statuses: Callable[[], Iterable[TaskStatus]]) -> None:
        grown = _Growth()

        def read() -> None:
            for status in statuses():
                self._instruments.task_restarts.labels(status.name).inc(grown.by(status.name, status.failures))

        self._readings.append(read)

    def watch_dropped_lines(self, dropped: Callable[[], int]) -> None:
        grown = _Growth()
        grown.by("lines", dropped())  # those of the arbiter, before this worker was made
        self._readings.append(lambda: self._instruments.dropped_lines.inc(grown.by("lines", dropped())))

    def refresh(self) -> None:
        with self._lock:  # one at a time
            self._write_requests()
            for counts in (self._transfers, self._lookups, self._refusals):
                counts.flush()
            o = self._instruments
            for distribution, histogram in ((self._waits, o.wait), (self._sizes, o.batch_size), (self._batch_s, o.batch)):
                distribution.move_to(histogram)
            o.in_flight.set(self._in_flight)
            for read in self._readings:
                read()
            states = [(name, breaker.state) for name, breaker in self._breakers]
            for name, state in {(name, state) for name, _ in self._breakers for state in State}:
                o.breaker_state.labels(name, state.value).set(states.count((name, state)))

    def run(self, ctx: Context) -> None:
        while ctx.error() is None:
            self.refresh()
            ctx.park(Parking(), REFRESH_S)

    def render(self) -> bytes:
        self.refresh()
        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]  # prometheus_client's
        return generate_latest(registry)

    def _write_requests(self) -> None:
        o = self._instruments
        for (method, route, status), requests in self._requests.items():
            if number := sum(requests.seconds.counts):
                o.requests.labels(method, route, str(status)).inc(number)
                requests.seconds.move_to(o.request_seconds.labels(route))
                o.request_bytes.labels(route).inc(requests.received)
                o.response_bytes.labels(route).inc(requests.sent)
                requests.received = requests.sent = 0


class _Requests:
    """Those of one method, route and status since the last refresh."""

    __slots__ = ("received", "seconds", "sent")

    def __init__(self) -> None:
        self.seconds = Distribution(REQUEST_S)
        self.received = self.sent = 0


class _Growth:
    """How much counters that others keep have grown since the last look; one that is smaller has begun anew."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def by(self, name: str, now: int) -> int:
        before = self._last.get(name, 0)
        self._last[name] = now
        return now - before if now >= before else now
