"""The metrics themselves: names, meanings, labels and buckets, and how the values of several workers become one."""

from __future__ import annotations

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REQUEST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_S = (0.0001, 0.00025, *REQUEST_S)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Instruments:
    """One attribute a metric. Counters and histograms of workers that have ended stay; a gauge is the sum of the living
    (of a lag the greatest).
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        """Make them, in `registry` where they are of one process, in none where several share a folder."""

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"ledgerd_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str, of_workers: Literal["livesum", "livemax"] = "livesum") -> Gauge:
            return Gauge(f"ledgerd_{name}", meaning, labels, registry=registry, multiprocess_mode=of_workers)

        def histogram(name: str, meaning: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"ledgerd_{name}", meaning, labels, registry=registry, buckets=bounds)

        self.requests = counter("http_requests_total", "Requests that were answered", "method", "route", "status")
        self.request_seconds = histogram("http_request_duration_seconds", "From request to answer", REQUEST_S, "route")
        self.request_bytes = counter("http_request_bytes_total", "Bytes of bodies that requests announced", "route")
        self.response_bytes = counter("http_response_bytes_total", "Bytes of bodies of answers", "route")
        self.in_flight = gauge("http_requests_in_flight", "Requests that are being answered")

        self.transfers = counter("transfers_total", "Transfers by what became of them", "outcome", "code")
        self.holds_expired = counter("holds_expired_total", "Holds that were given back when their time had come")
        self.batch_size = histogram("posting_batch_size", "Transfers that were posted together", BATCH_SIZES)
        self.batch = histogram("posting_batch_duration_seconds", "A batch at the database, retries included", REQUEST_S)
        self.wait = histogram("posting_wait_seconds", "How long a transfer waited for its batch", WAIT_S)
        self.queue_depth = gauge("posting_queue_depth", "Transfers that wait for a batch")
        self.queue_capacity = gauge("posting_queue_capacity", "Transfers that may wait before more are refused")

        self.pool_open = gauge("pool_connections_open", "Database connections there are", "server")
        self.pool_in_use = gauge("pool_connections_in_use", "Database connections that are in use, or being made", "server")
        self.pool_max = gauge("pool_connections_max", "Database connections there may be", "server")
        self.pool_waiting = gauge("pool_requests_waiting", "Requests that wait for a database connection", "server")
        self.pool_wait_seconds = counter("pool_wait_seconds_total", "Time waited for database connections", "server")
        self.pool_refusals = counter("pool_refusals_total", "Requests that got no database connection in time", "server")
        self.pool_connections_lost = counter("pool_connections_lost_total", "Database connections that broke", "server")

        self.replica_lag = gauge(
            "replica_lag_seconds", "How far a replica is behind, as the worst worker sees it", "server", of_workers="livemax"
        )
        self.replica_reads = counter("replica_reads_total", "Reads that were given to a replica first")
        self.hedged_reads = counter("hedged_reads_total", "Of these, those that were sent to a second server as well")

        self.unsealed_age = gauge(
            "unsealed_age_seconds", "How old the oldest transfer without a seal is", of_workers="livemax"
        )

        self.live_clients = gauge("live_clients", "Clients that listen to events")
        self.live_events = counter("live_events_total", "Events that were sent to them, each as often as it was sent")
        self.live_ended = counter("live_clients_dropped_total", "Clients that were let go, and why", "reason")
        self.live_lag = gauge(
            "live_lag_seconds", "How long ago they had been told of everything, in the worst worker", of_workers="livemax"
        )
        self.live_delay = histogram("live_delay_seconds", "From an event's time to its being told", REQUEST_S)

        self.cache_lookups = counter("cache_lookups_total", "Lookups in a cache: hit or miss", "cache", "result")
        self.limiter_refusals = counter("limiter_refusals_total", "Requests that a limiter has refused", "kind")
        self.breaker_state = gauge("breaker_state", "Circuit breakers in a state", "name", "state")
        self.task_restarts = counter("task_restarts_total", "Background tasks that failed and were started again", "task")
        self.dropped_lines = counter("log_lines_dropped_total", "Log lines that nobody took in time")
        self.workers = gauge("workers", "Processes that serve")
        self.build_info = gauge("build_info", "1 for each process of a version", "version", "python")
