"""Logs, metrics and traces of requests through the whole middleware, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.app import Application
from service.config import Config
from service.telemetry import facade
from tests.client import ApiClient
from tests.serving import wait_until
from tests.unit.test_log_lines import Lines


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """The log lines of the application."""
    made = Lines(tmp_path / "log")
    monkeypatch.setattr(facade, "standard_error", lambda: made.output)
    yield made
    made.output.close()
    os.close(made.fd)


@pytest.fixture
def config(config: Config, lines: Lines) -> Config:
    """That of all tests, with a line for each request, which goes into `lines`."""
    return replace(config, log_level="info")


def scrape(client: ApiClient) -> dict[str, dict[tuple[str, ...], float]]:
    """The answer of /metrics: samples by name, and by their sorted label values."""
    reply = client.get("/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name.removeprefix("ledgerd_"), {})[labels] = sample.value
    return found


def test_metrics_need_no_key(application: Application, api: ApiClient) -> None:
    """Requests, transfers, batches, the pool and the key cache are counted."""
    source, target = (api.account(min_balance=None)["id"] for _ in range(2))
    assert api.transfer(source, target, 5).status == 201
    assert api.transfer(target, source, 1, if_from_version=9).code == "version_mismatch"
    assert api.get("/api/users/77").status == 404
    assert api.get("/nowhere/at/all").status == 404
    found = scrape(ApiClient(application, None))
    assert found["http_requests_total"][("POST", "/api/transfers", "201")] == 1
    assert found["http_requests_total"][("GET", "/api/users/<user_id>", "404")] == 1
    assert found["http_requests_total"][("GET", "none", "404")] == 1
    assert found["transfers_total"] == {("", "posted"): 1, ("version_mismatch", "refused"): 1}
    assert found["posting_batch_size_count"][()] == 2
    assert found["cache_lookups_total"][("api_keys", "miss")] >= 1
    assert found["pool_connections_open"][("primary",)] >= 1
    assert found["posting_queue_capacity"][()] == 4096
    assert found["http_requests_in_flight"][()] == 1


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("", 200), ("192.0.2.1", 404), ("10.0.0.1", 404)])
def test_metrics_are_for_this_host(application: Application, address: str, status: int) -> None:
    """Whoever else asks gets what an unknown path gets, also when a local proxy asks for them."""
    assert ApiClient(application, None).call("GET", "/metrics", peer=address).status == status


def test_metrics_are_not_for_whom_a_local_proxy_asks(config: Config) -> None:
    """What counts is who really sends the request."""
    application = Application(replace(config, trusted_proxies=("127.0.0.1",)))
    client = ApiClient(application, None)
    assert client.get("/metrics", X_Forwarded_For="192.0.2.1").status == 404
    assert client.get("/metrics", X_Forwarded_For="127.0.0.1").status == 200
    application.close(5)


def test_metrics_can_be_opened_to_others(config: Config) -> None:
    """LEDGERD_METRICS_FROM names the networks."""
    app = Application(replace(config, metrics_from=("192.0.2.0/24",))).open()
    try:
        client = ApiClient(app, None)
        assert client.call("GET", "/metrics", peer="192.0.2.9").status == 200
        assert client.call("GET", "/metrics", peer="127.0.0.1").status == 404
    finally:
        assert app.close(10) == []


def test_limits_are_counted(config: Config, key: str) -> None:
    """By the kind of what was limited."""
    app = Application(replace(config, rate_limit=0.01, rate_burst=1)).open()
    try:
        client = ApiClient(app, key)
        assert [client.get("/api/users").status for _ in range(3)] == [200, 429, 429]
        assert scrape(ApiClient(app, None))["limiter_refusals_total"] == {("key",): 2}
    finally:
        assert app.close(10) == []


def test_metrics_can_be_switched_off(config: Config, key: str) -> None:
    """Then there is no such path, and everything else works."""
    app = Application(replace(config, metrics="off")).open()
    try:
        client = ApiClient(app, key)
        assert client.get("/metrics").code == "not_found"
        assert client.transfer(client.account(min_balance=None)["id"], client.account()["id"], 5).status == 201
    finally:
        assert app.close(10) == []


def test_a_request_is_one_line_with_its_route_and_its_trace(api: ApiClient, lines: Lines) -> None:
    """The same ids as in the answer; a line that tells no secret."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    reply = api.get("/api/users/9", X_Request_ID="r-9", traceparent=trace)
    assert reply.headers["traceparent"].startswith(trace[:36])
    wait_until(lambda: lines.raw, 10)  # lines are gathered first
    (line,) = lines.all
    assert (line["request_id"], line["trace_id"]) == ("r-9", trace[3:35])
    assert (line["method"], line["route"]) == ("GET", "/api/users/<user_id>")
    assert (line["path"], line["status"]) == ("/api/users/9", 404)
    assert line["bytes"] == len(reply.body)
    assert line["key_id"] in api.key  # type: ignore[operator]
    assert isinstance(line["ledger"], int)


def test_nothing_secret_is_logged_or_measured(application: Application, api: ApiClient, key: str, lines: Lines) -> None:
    """Neither the key nor what is asked for or sent, whether it is accepted or not."""
    api.get("/api/users?email=private@example.com")
    api.post("/api/users", {"name": "Private Name", "email": "private@example.com"})
    api.post("/api/users", {"private": "private"}, Idempotency_Key="private", X_Request_ID="not private sane")
    ApiClient(application, key[:-1] + "x").get("/api/users", Cookie="private")
    wait_until(lambda: len(lines.raw) >= 4, 10)  # lines are gathered first
    text = b"\n".join(lines.raw).decode() + api.get("/metrics").body.decode()
    assert text.count('"/api/users"') >= 4
    for secret in (key, key.rpartition("_")[2], "private", "Private"):
        assert secret not in text
