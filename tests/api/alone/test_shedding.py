"""A transfer for which there is no room is refused at the door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from service.app import Application
from service.config import Config
from tests.api.alone.test_telemetry import scrape
from tests.client import ApiClient
from tests.serving import wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def config(config: Config) -> Config:
    """With room for one transfer that waits."""
    return replace(config, posting_queue=1, log_level="critical")


def test_a_full_queue_is_told_before_anything_else_is_looked_at(
    application: Application, api: ApiClient, database_url: str
) -> None:
    """Key and body do not matter then; it is counted as any refusal, and what waits is posted."""
    source, target = (api.account(min_balance=None)["id"] for _ in range(2))
    posting, stranger = application.resources.posting, ApiClient(application, None)
    with ThreadPoolExecutor(2) as threads:
        with psycopg.connect(database_url) as blocker, psycopg.connect(database_url, autocommit=True) as db:
            blocker.execute("SELECT FROM accounts WHERE id = %s FOR UPDATE", (source,))
            wait_until(lambda: posting.statistics().receivers_waiting == 1, 10)  # the lane is there
            accepted = [threads.submit(api.transfer, source, target, 1)]
            wait_until(lambda: db.execute(WAITING).fetchone() == (1,), 10)  # the lane has it, and takes no other along
            accepted.append(threads.submit(api.transfer, source, target, 1))
            wait_until(lambda: posting.statistics().buffered == 1, 10)
            refused = stranger.call("POST", "/api/transfers", raw=b"{")
            assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "overloaded", "1")
            assert api.get(f"/api/accounts/{source}").status == 200
            assert stranger.post("/api/users", {}).status == 401
        assert [call.result().status for call in accepted] == [201, 201]
    assert stranger.call("POST", "/api/transfers", raw=b"{").status == 401
    found = scrape(stranger)
    assert found["transfers_total"] == {("", "posted"): 2, ("overloaded", "failed"): 1}
    assert found["http_requests_total"][("POST", "/api/transfers", "503")] == 1
