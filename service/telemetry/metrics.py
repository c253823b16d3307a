"""Every metric of ledgerd, and what is to be told so that it is counted. docs/operations.md has a table of them.

The callables here are passed inward by the composition root; nobody else knows prometheus_client. What others can tell of
themselves is read about once a second, in each worker: none can be asked by another. No label holds what a client chose:
methods and routes are from fixed lists, and there are no ids.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import time
from wsgiref.types import WSGIEnvironment

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from service import __version__
from service.concurrency.breaker import Breaker
from service.concurrency.context import Context
from service.concurrency.primitives import Parking, RLock
from service.concurrency.spawn import TaskStatus
from service.errors import LedgerdError
from service.events.event import Event
from service.ledger.posting import BatchReport
from service.ledger.transfers import Outcome, Post, PostGroup, PostRequest, Refused
from service.telemetry.instruments import BATCH_SIZES, REQUEST_S, WAIT_S, Instruments
from service.telemetry.multiprocess import FOLDER, NUMBER
from service.telemetry.no_metrics import Fed, Hedged, Lagging, NoMetrics, Queue
from service.telemetry.readings import (
    Growth,
    read_breakers,
    read_feed,
    read_hedging,
    read_pool,
    read_queue,
    read_replica,
    read_tasks,
)
from service.telemetry.requests import Requests
from service.telemetry.tally import Counts, Distribution

REFRESH_S = 1.0


class Metrics(NoMetrics):
    """The metrics of this process, or of all workers that share the folder in PROMETHEUS_MULTIPROC_DIR."""

    on = True

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        number = env.get(NUMBER)
        self._folder = env.get(FOLDER) if number is not None else None  # a folder alone is not our arbiter's
        if self._folder is None:
            values.ValueClass = values.MutexValue
        else:
            values.ValueClass = values.MultiProcessValue(process_identifier=lambda: number)  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._instruments = instruments = Instruments(self._registry if self._folder is None else None)
        self._requests = Requests()
        self._transfers: Counts[tuple[str, str]] = Counts(lambda labels: instruments.transfers.labels(*labels))
        self._lookups: Counts[tuple[str, str]] = Counts(lambda labels: instruments.cache_lookups.labels(*labels))
        self._refusals: Counts[str] = Counts(instruments.limiter_refusals.labels)
        self._lock = RLock()  # of what follows
        self._sizes, self._batch_s, self._waits = (Distribution(bounds) for bounds in (BATCH_SIZES, REQUEST_S, WAIT_S))
        self._delays = Distribution(REQUEST_S)
        self._readings: list[Callable[[], None]] = []
        self._breakers: list[tuple[str, Breaker]] = []
        instruments.build_info.labels(__version__, platform.python_version()).set(1)
        instruments.workers.set(1)

    def request_began(self) -> None:
        self._requests.began()

    def request_ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        self._requests.ended(environ, status, duration_s, sent)

    def counting(self, post: Post) -> Post:
        def counted(ctx: Context, request: PostRequest) -> Outcome:
            try:
                outcome = post(ctx, request)
            except LedgerdError as error:
                self._transfers.add(("failed", error.code))
                raise
            self._transfers.add(_became_of(request, outcome))
            return outcome

        return counted

    def counting_room(self, check_room: Callable[[], None]) -> Callable[[], None]:
        def counted() -> None:
            try:
                check_room()
            except LedgerdError as error:
                self._transfers.add(("failed", error.code))
                raise

        return counted

    def chunk_posted(self, outcomes: Sequence[Outcome]) -> None:
        counted = Counter(
            ("refused", outcome.code) if isinstance(outcome, Refused) else ("replayed" if outcome.replayed else "posted", "")
            for outcome in outcomes
        )
        for labels, number in counted.items():
            self._transfers.add(labels, number)

    def counting_group(self, post_group: PostGroup) -> PostGroup:
        def counted(ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
            try:
                outcomes = post_group(ctx, requests)
            except LedgerdError as error:
                for _ in requests:
                    self._transfers.add(("failed", error.code))
                raise
            for request, outcome in zip(requests, outcomes, strict=True):
                self._transfers.add(_became_of(request, outcome))
            return outcomes

        return counted

    def holds_expired(self, number: int) -> None:
        self._instruments.holds_expired.inc(number)

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
        self._readings.append(partial(read_queue, self._instruments, statistics))

    def watch_pool(self, server: str, statistics: Callable[[], Mapping[str, int]]) -> None:
        self._readings.append(partial(read_pool, self._instruments, server, statistics, Growth()))

    def watch_replica(self, server: str, replica: Lagging) -> None:
        self._readings.append(partial(read_replica, self._instruments, server, replica))

    def event_told(self, event: Event, listeners: int) -> None:
        if listeners:
            with self._lock:
                self._delays.observe(max(time() - event.at.timestamp(), 0.0))

    def watch_feed(self, feed: Fed) -> None:
        self._readings.append(partial(read_feed, self._instruments, feed, Growth()))

    def watch_hedging(self, hedging: Hedged) -> None:
        self._readings.append(partial(read_hedging, self._instruments, hedging, Growth()))

    def watch_breaker(self, name: str, breaker: Breaker) -> None:
        self._breakers.append((name, breaker))

    def watch_tasks(self, statuses: Callable[[], Iterable[TaskStatus]]) -> None:
        self._readings.append(partial(read_tasks, self._instruments, statuses, Growth()))

    def watch_sealing(self, unsealed_age_s: Callable[[], float]) -> None:
        self._readings.append(lambda: self._instruments.unsealed_age.set(unsealed_age_s()))

    def watch_dropped_lines(self, dropped: Callable[[], int]) -> None:
        grown = Growth()
        grown.by("lines", dropped())  # those of the arbiter, before this worker was made
        self._readings.append(lambda: self._instruments.dropped_lines.inc(grown.by("lines", dropped())))

    def refresh(self) -> None:
        with self._lock:  # one at a time
            self._requests.flush(self._instruments)
            for counts in (self._transfers, self._lookups, self._refusals):
                counts.flush()
            self._sizes.move_to(self._instruments.batch_size)
            self._batch_s.move_to(self._instruments.batch)
            self._waits.move_to(self._instruments.wait)
            self._delays.move_to(self._instruments.live_delay)
            for read in self._readings:
                read()
            read_breakers(self._instruments, self._breakers)

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


def _became_of(request: PostRequest, outcome: Outcome) -> tuple[str, str]:
    """The labels of the counter: the outcome, and the code of a refusal."""
    if isinstance(outcome, Refused):
        return "tried" if request.dry_run else "refused", outcome.code
    if outcome.replayed:
        return "replayed", ""
    return "tried" if request.dry_run else "posted", ""
