"""GET /api/audit/seals, and the task that makes what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.app import Application
from service.config import Config
from tests.client import ApiClient
from tests.conftest import make_key
from tests.serving import wait_until


@pytest.fixture
def sealing(config: Config) -> Iterator[Application]:
    """An application that seals all the time."""
    app = Application(replace(config, seal_interval_s=0.1)).open()
    yield app
    assert app.close(10) == [], "background tasks that did not end"


def test_what_is_posted_is_sealed(sealing: Application, database_url: str) -> None:
    """Soon, by the background task; the chain is told newest first, page by page, and how far it is."""
    api = ApiClient(sealing, make_key(database_url))
    source, target = (api.account(min_balance=None)["id"] for _ in range(2))
    empty = api.get("/api/audit/seals").json
    assert empty == {"data": [], "next_cursor": None, "sealed_to": 0, "unsealed_since": None}
    for _ in range(3):
        posted = api.transfer(source, target, 5).json["id"]
        wait_until(lambda posted=posted: api.get("/api/audit/seals").json["sealed_to"] == posted, 20)
    whole = api.get("/api/audit/seals").json
    assert [seal["number"] for seal in whole["data"]] == [3, 2, 1]
    assert [seal["previous_hash"] for seal in whole["data"]] == [*(seal["hash"] for seal in whole["data"][1:]), "0" * 64]
    assert (whole["sealed_to"], whole["unsealed_since"]) == (posted, None)
    assert api.whole_list("/api/audit/seals", 1) == whole["data"]
    sealing.telemetry.metrics.refresh()
    assert "ledgerd_unsealed_age_seconds 0.0" in api.get("/metrics").body.decode()


def test_what_is_not_sealed_is_told(api: ApiClient) -> None:
    """Since when, and as long as nothing is sealed, 0."""
    source, target = (api.account(min_balance=None)["id"] for _ in range(2))
    posted = [api.transfer(source, target, 5).json for _ in range(2)]
    answer = api.get("/api/audit/seals").json
    assert (answer["sealed_to"], answer["unsealed_since"]) == (0, posted[0]["created_at"])


def test_it_takes_a_scope_of_its_own(application: Application, database_url: str) -> None:
    """`audit:read`, which `read` has in it; a ledger sees its own seals."""
    for scope, status in (("audit:read", 200), ("read", 200), ("transfers:read", 403), ("operator", 403)):
        assert ApiClient(application, make_key(database_url, "main", scope)).get("/api/audit/seals").status == status


def test_sealing_can_be_off(config: Config) -> None:
    """LEDGERD_SEAL_INTERVAL_S=0: no task."""
    assert Config.from_env({"LEDGERD_SEAL_INTERVAL_S": "0"}).seal_interval_s == 0
    app = Application(replace(config, seal_interval_s=0)).open()
    try:
        assert "sealing" not in app._tasks.names()
    finally:
        assert app.close(10) == []
