"""What is counted, and how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from service.concurrency.breaker import Breaker
from service.concurrency.context import Context, background
from service.concurrency.spawn import TaskStatus
from service.errors import ConfigurationError, Overloaded
from service.ledger.posting import BatchReport
from service.ledger.transfers import Outcome, Posted, PostRequest, Refused, Transfer
from service.middleware.environ import ROUTE
from service.telemetry.metrics import Metrics
from service.telemetry.multiprocess import FOLDER, forget_gauges, free_number, make_folder, remove_folder
from service.telemetry.no_metrics import NoMetrics
from service.telemetry.readers import Readers
from service.telemetry.tally import Distribution
from tests.unit.lanes import NOW, move

TRANSFER = Transfer(1, 1, 2, 5, "USD/2", None, {}, 1, 1, -5, 5, NOW)


@pytest.fixture
def metrics() -> Metrics:
    """Of this process alone."""
    return Metrics({})


def figures(metrics: NoMetrics) -> dict[str, float]:
    """Every sample that is not a bucket, by its name and its labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    samples = [sample for family in families for sample in family.samples if "le" not in sample.labels]
    return {" ".join([sample.name.removeprefix("ledgerd_"), *sample.labels.values()]): sample.value for sample in samples}


def answer(metrics: NoMetrics, method: str = "GET", status: int = 200, **environ: Any) -> None:
    """A request of 2 ms that was answered with 10 bytes."""
    metrics.request_began()
    metrics.request_ended({"REQUEST_METHOD": method, **environ}, status, 0.002, 10)


def test_requests_are_counted_by_method_route_and_status(metrics: Metrics) -> None:
    """With their bytes and their time; those of no route share one label, unknown methods another."""
    users = {ROUTE: "/api/users/<user_id>", "CONTENT_LENGTH": "5"}
    for status in (200, 200, 404):
        answer(metrics, "GET", status, **users)
    answer(metrics, "BREW", 405, PATH_INFO="/coffee")
    found = figures(metrics)
    assert found["http_requests_total GET /api/users/<user_id> 200"] == 2
    assert found["http_requests_total GET /api/users/<user_id> 404"] == 1
    assert found["http_requests_total other none 405"] == 1
    assert found["http_request_duration_seconds_sum /api/users/<user_id>"] == pytest.approx(0.006)
    assert found["http_request_bytes_total /api/users/<user_id>"] == 15
    assert found["http_response_bytes_total /api/users/<user_id>"] == 30


def test_nothing_that_a_client_chooses_becomes_a_label(metrics: Metrics) -> None:
    """Thousands of paths and methods are two series."""
    for number in range(3000):
        answer(metrics, f"M{number}", 404, PATH_INFO=f"/{number}", CONTENT_LENGTH=f"x{number}", HTTP_X_REQUEST_ID="secret-1")
    found = figures(metrics)
    assert [name for name in found if name.startswith("http_requests_total")] == ["http_requests_total other none 404"]
    assert "secret" not in metrics.render().decode()


def test_requests_in_flight(metrics: Metrics) -> None:
    """Those that began and have not ended."""
    metrics.request_began()
    answer(metrics)
    assert figures(metrics)["http_requests_in_flight"] == 1


def test_outcomes_of_transfers(metrics: Metrics) -> None:
    """Posted, replayed, refused and failed, the last two with their code; nothing else changes for the caller."""
    outcomes: list[Outcome | Exception] = [
        Posted(TRANSFER, False, 1), Posted(TRANSFER, True, 1), Refused("insufficient_funds", "amount"),
        Overloaded("full"),
    ]

    def post(_ctx: Context, _request: PostRequest) -> Outcome:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    counted = metrics.counting(post)
    kinds = [type(counted(background(), move())) for _ in range(3)]
    assert kinds == [Posted, Posted, Refused]
    with pytest.raises(Overloaded):
        counted(background(), move())
    found = {name: value for name, value in figures(metrics).items() if name.startswith("transfers_total")}
    assert found == {
        "transfers_total  posted": 1, "transfers_total  replayed": 1, "transfers_total insufficient_funds refused": 1,
        "transfers_total overloaded failed": 1,
    }


def test_batches(metrics: Metrics) -> None:
    """Their size, their time, and how long each transfer waited."""
    metrics.batch_ended(BatchReport([move(), move()], [0.001, 0.003], 0.0, 0.02))
    metrics.batch_ended(BatchReport([move()], [0.002], 0.0, 0.01))
    found = figures(metrics)
    assert (found["posting_batch_size_count"], found["posting_batch_size_sum"]) == (2, 3)
    assert (found["posting_wait_seconds_count"], found["posting_wait_seconds_sum"]) == (3, pytest.approx(0.006))
    assert found["posting_batch_duration_seconds_sum"] == pytest.approx(0.03)


def test_what_is_watched_is_read_at_each_refresh(metrics: Metrics) -> None:
    """The pool's counters by how much they have grown, its state as it is; a counter that begins anew is no fall."""
    pool = {"pool_size": 4, "pool_available": 1, "pool_max": 9, "requests_waiting": 2, "requests_wait_ms": 1500}
    metrics.watch_pool("primary", lambda: pool)
    metrics.refresh()
    pool.update(requests_wait_ms=2000, connections_lost=3)
    found = figures(metrics)
    assert [found[f"pool_connections_{name} primary"] for name in ("open", "in_use", "max")] == [4, 3, 9]
    assert (found["pool_requests_waiting primary"], found["pool_connections_lost_total primary"]) == (2, 3)
    assert found["pool_wait_seconds_total primary"] == 2
    pool.update(requests_wait_ms=250)
    assert figures(metrics)["pool_wait_seconds_total primary"] == 2.25


def test_the_lag_of_replicas(metrics: Metrics) -> None:
    """By server; infinite where it is not known."""
    replica = SimpleNamespace(lag_s=float("inf"))
    metrics.watch_replica("replica 1", replica)
    assert figures(metrics)["replica_lag_seconds replica 1"] == float("inf")
    replica.lag_s = 0.25
    assert figures(metrics)["replica_lag_seconds replica 1"] == 0.25


def test_reads_of_replicas_and_their_hedges(metrics: Metrics) -> None:
    """By how much they have grown."""
    hedging = SimpleNamespace(reads=40, hedges=1)
    metrics.watch_hedging(hedging)
    metrics.refresh()
    hedging.reads, hedging.hedges = 60, 3
    found = figures(metrics)
    assert (found["replica_reads_total"], found["hedged_reads_total"]) == (60, 3)


def test_breakers_tasks_caches_limiters_and_lines(metrics: Metrics) -> None:
    """Each under a name that the code gives it."""
    breakers = [Breaker(failures=1, window_s=1, open_s=60) for _ in range(2)]
    for breaker in breakers:
        metrics.watch_breaker("webhook", breaker)
    with pytest.raises(ZeroDivisionError):
        breakers[0].call(lambda: 1 / 0)
    metrics.watch_tasks(lambda: [TaskStatus("posting lane", 0.0, failures=3)])
    dropped = [5]
    metrics.watch_dropped_lines(lambda: dropped[0])
    dropped[0] = 7
    lookup = metrics.cache_lookup("api_keys")
    for was_hit in (True, True, False):
        lookup(was_hit)
    metrics.limiter_refused("key")
    found = figures(metrics)
    assert (found["breaker_state webhook open"], found["breaker_state webhook closed"]) == (1, 1)
    assert found["breaker_state webhook half-open"] == 0
    assert found["task_restarts_total posting lane"] == 3
    assert found["log_lines_dropped_total"] == 2
    assert (found["cache_lookups_total api_keys hit"], found["cache_lookups_total api_keys miss"]) == (2, 1)
    assert found["limiter_refusals_total key"] == 1


@given(st.lists(st.floats(0, 100) | st.sampled_from([1.0, 2.0, 5.0])))
def test_a_distribution_is_what_prometheus_client_makes_of_the_same(values: list[float]) -> None:
    """Bucket by bucket, bounds included."""
    ours, theirs = (Histogram("x", "x", registry=CollectorRegistry(), buckets=(1, 2, 5)) for _ in range(2))
    distribution = Distribution((1, 2, 5))
    for value in values:
        distribution.observe(value)
        theirs.observe(value)
    distribution.move_to(ours)
    distribution.move_to(ours)
    (left,), (right,) = ours.collect(), theirs.collect()
    assert [(s.labels, s.value) for s in left.samples if s.name in ("x_bucket", "x_count")] == [
        (s.labels, s.value) for s in right.samples if s.name in ("x_bucket", "x_count")
    ]
    assert sum(s.value for s in left.samples if s.name == "x_sum") == pytest.approx(sum(values))


def test_off_means_that_nothing_is_kept() -> None:
    """Whoever tells something is not heard, and nothing can be read."""
    off = NoMetrics()
    answer(off)
    assert off.counting(len) is len  # type: ignore[arg-type, comparison-overlap]
    off.run(background())
    with pytest.raises(LookupError):
        off.render()


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.9", True), ("10.1.2.3", True), ("", True), ("192.0.2.1", False),
        ("::2", False), ("::ffff:192.0.2.1", False), ("127.0.0.1:80", False), ("x", False), ("127.0.0.1, 192.0.2.1", False),
    ],
)
def test_who_may_read(address: str, may: bool) -> None:
    """Whoever is in one of the networks, IPv4 in IPv6's clothes too, and whoever comes by a Unix socket."""
    assert Readers(("127.0.0.0/8", "::1/128", "10.0.0.0/8")).include(address) is may


def test_the_folder_is_made_anew_and_removed(tmp_path: Path) -> None:
    """What is left of processes that are gone goes too; that of a living one stays."""
    env: dict[str, str] = {}
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f"metrics-{gone.pid}"
    living = tmp_path / "metrics-1"
    for folder in (left, living, tmp_path / f"metrics-{os.getpid()}"):
        folder.mkdir()
        (folder / "counter_1.db").write_bytes(b"")
    folder = make_folder(tmp_path, env)
    assert env == {FOLDER: str(folder)}
    assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["metrics-1", folder.name])
    remove_folder(env)
    remove_folder(env)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    """It says where, why and what to do."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"metrics of several workers need a folder.*Not a directory.*_METRICS=off"):
        make_folder(tmp_path / "file" / "run", {})


def test_numbers_of_workers(tmp_path: Path) -> None:
    """The lowest that is free; with a worker its gauges go, not its counters and not those of others."""
    assert [free_number(taken) for taken in ([], [1, 2], [2], [1, 3])] == [1, 3, 1, 2]
    for name in ("gauge_livesum_1.db", "gauge_livesum_11.db", "counter_1.db"):
        (tmp_path / name).write_bytes(b"")
    forget_gauges(str(tmp_path), 1)
    forget_gauges(str(tmp_path), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_1.db", "gauge_livesum_11.db"]
