"""Lists of transfers by account, reference and time, each held against a plain filter over all of them."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.client import ApiClient


@pytest.fixture
def made(api: ApiClient) -> list[dict[str, Any]]:
    """Twelve transfers among three accounts, some with references that differ in case or begin alike; newest first."""
    accounts = [api.account(min_balance=None)["id"] for _ in range(3)]
    references = [None, "inv-1", "INV-1", "inv-10"]
    found = []
    for n in range(12):
        fields = {} if references[n % 4] is None else {"reference": references[n % 4]}
        found.append(api.transfer(accounts[n % 3], accounts[(n + 1 + n % 2) % 3], n + 1, **fields).json)
    return found[::-1]


def read(api: ApiClient, query: dict[str, Any]) -> list[int]:
    """The ids of the whole list, three a page."""
    return [transfer["id"] for transfer in api.whole_list(f"/api/transfers?{urlencode(query)}", 3)]


def test_filters_may_be_combined(api: ApiClient, made: list[dict[str, Any]]) -> None:
    """Account, reference, and a stretch of time of which the end is excluded."""
    times = [None, made[9]["created_at"], made[3]["created_at"]]
    for account_id, reference, since, until in product((None, 1, 3, 99), (None, "inv-1", "INV-1", "inv"), times, times):
        if since is not None and until is not None and since > until:
            continue
        query = {"account_id": account_id, "reference": reference, "from": since, "to": until}
        wanted = [
            transfer["id"] for transfer in made
            if account_id in (None, transfer["from_account_id"], transfer["to_account_id"])
            and reference in (None, transfer["reference"])
            and (since is None or transfer["created_at"] >= since)
            and (until is None or transfer["created_at"] < until)
        ]
        assert read(api, {name: value for name, value in query.items() if value is not None}) == wanted, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("reference=", "reference"), ("reference=" + "x" * 256, "reference"), ("reference=%00", "reference"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"), ("account_id=0", "account_id"), ("to=", "to"),
        ("from=1", "from"),
    ],
)
def test_a_wrong_filter_is_named(api: ApiClient, query: str, field: str) -> None:
    """422, and no page."""
    reply = api.get(f"/api/transfers?{query}")
    assert (reply.status, reply.fields) == (422, [field])


def test_a_ledger_lists_its_own(api: ApiClient, made: list[dict[str, Any]], application: Any, database_url: str) -> None:
    """The same reference and the same time in another ledger find nothing."""
    from tests.conftest import make_key

    other = ApiClient(application, make_key(database_url, "other"))
    for query in ({"reference": "inv-1"}, {"from": made[-1]["created_at"]}, {"account_id": 1}, {}):
        assert read(other, query) == []
