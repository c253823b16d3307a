"""Statements page by page in both directions, and balances in the past."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.client import ApiClient


@pytest.fixture
def account(api: ApiClient) -> int:
    """An account that got 10, 20, 30, 40 and 50, and gave 5 after each."""
    world, account = api.account(min_balance=None)["id"], api.account()["id"]
    for amount in (10, 20, 30, 40, 50):
        api.transfer(world, account, amount)
        api.transfer(account, world, 5, reference="fee")
    return int(account)


def lines(reply: Any) -> list[int]:
    """The versions on a page."""
    assert reply.status == 200, reply.body
    return [line["version"] for line in reply.json["data"]]


def test_a_statement_is_read_to_its_end_and_back(api: ApiClient, account: int) -> None:
    """Newest first; the last page has no next, the first no previous, and the way back shows the same pages."""
    path = f"/api/accounts/{account}/entries?limit=4"
    there, query = [], ""
    while True:
        page = api.get(path + query)
        there.append(lines(page))
        if page.json["next_cursor"] is None:
            break
        query = f"&cursor={page.json['next_cursor']}"
    assert there == [[10, 9, 8, 7], [6, 5, 4, 3], [2, 1]]
    back = [lines(page)]
    while page.json["previous_cursor"] is not None:
        page = api.get(f"{path}&cursor={page.json['previous_cursor']}")
        back.append(lines(page))
    assert back == there[::-1]


def test_a_line_tells_what_happened_and_what_was_left(api: ApiClient, account: int) -> None:
    """Direction, amount, the other account, and the balance after it."""
    line = api.get(f"/api/accounts/{account}/entries?limit=1").json["data"][0]
    assert {**line, "transfer_id": 0, "created_at": ""} == {
        "version": 10, "transfer_id": 0, "kind": "transfer", "direction": "debit", "amount": 5, "balance": 125, "held": 0,
        "other_account_id": account - 1, "asset": "USD/2", "reference": "fee", "metadata": {}, "created_at": "",
    }


def test_a_statement_is_filtered(api: ApiClient, account: int) -> None:
    """By direction, by time, oldest first; a cursor is good for its filters alone."""
    path = f"/api/accounts/{account}/entries"
    assert lines(api.get(f"{path}?direction=credit&order=asc")) == [1, 3, 5, 7, 9]
    third = api.get(f"{path}?order=asc&limit=3").json["data"][2]["created_at"]
    assert lines(api.get(f"{path}?order=asc&from={third}"))[0] == 3
    assert lines(api.get(f"{path}?to={third}"))[0] == 2
    in_berlin = datetime.fromisoformat(third).astimezone(datetime.fromisoformat("2026-01-01T00:00:00+01:00").tzinfo)
    for text in (in_berlin.isoformat(), quote(in_berlin.isoformat())):
        assert lines(api.get(f"{path}?to={text}"))[0] == 2
    cursor = api.get(f"{path}?direction=credit&limit=1").json["next_cursor"]
    assert lines(api.get(f"{path}?direction=credit&limit=1&cursor={cursor}")) == [7]
    assert api.get(f"{path}?direction=debit&limit=1&cursor={cursor}").fields == ["cursor"]
    assert api.get(f"/api/accounts/1/entries?direction=credit&limit=1&cursor={cursor}").fields == ["cursor"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=2026-01-01T00:00:00", "from"), ("to=yesterday", "to"), ("from=2026-02-31T00:00:00Z", "from"), ("from=", "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"), ("direction=up", "direction"), ("order=up", "order"),
        ("limit=0", "limit"), ("cursor=x", "cursor"), ("since=1", "since"), ("from=1&from=2", "from"), ("to=%00", "to"),
    ],
)
def test_a_wrong_parameter_is_named(api: ApiClient, account: int, query: str, field: str) -> None:
    """422, and no page."""
    reply = api.get(f"/api/accounts/{account}/entries?{query}")
    assert (reply.status, reply.fields) == (422, [field])


def test_a_balance_in_the_past(api: ApiClient, account: int) -> None:
    """The one after the last entry until then; nothing before the first."""
    entries = api.get(f"/api/accounts/{account}/entries?order=asc").json["data"]
    for line in entries[:3]:
        then = api.get(f"/api/accounts/{account}/balance?at={line['created_at']}").json
        last = [entry for entry in entries if entry["created_at"] <= line["created_at"]][-1]
        assert then == {
            "account_id": account, "asset": "USD/2", "at": line["created_at"],
            "balance": last["balance"], "held": 0, "available": last["balance"], "version": last["version"],
        }
    assert api.get(f"/api/accounts/{account}/balance?at=2020-02-29T12:00:00%2B02:00").json["balance"] == 0
    assert api.get(f"/api/accounts/{account}/balance").json["balance"] == 125


@pytest.mark.parametrize(
    "at",
    [
        "2026-01-01", "2026-01-01T00:00:00", "now", "", "1767225600", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-14:00",
        "2020-01-31T09:30:00%2B02:60", "2020-01-31T09:30:00-00:99",
    ],
)
def test_a_moment_that_is_none(api: ApiClient, account: int, at: str) -> None:
    """Without a zone, unparsable, or beyond all times."""
    reply = api.get(f"/api/accounts/{account}/balance?at={at}")
    assert (reply.status, reply.fields) == (422, ["at"])


def test_a_moment_that_is_still_to_come(api: ApiClient, account: int) -> None:
    """Nobody knows that balance yet."""
    at = quote((datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    reply = api.get(f"/api/accounts/{account}/balance?at={at}")
    assert (reply.status, reply.fields) == (422, ["at"])
    assert "still to come" in reply.json["detail"]


def test_the_earliest_moment_there_is(api: ApiClient, account: int) -> None:
    """A time that UTC cannot express in four digits of a year is no fault of the service."""
    assert api.get(f"/api/accounts/{account}/balance?at=0001-01-01T00:00:00%2B14:00").fields in (["at"], ["from"])
    assert api.get(f"/api/accounts/{account}/entries?from=0001-01-01T00:00:00%2B14:00").fields in (["at"], ["from"])


def test_a_statement_of_nothing(api: ApiClient) -> None:
    """An account without entries has an empty page; one that does not exist is not found."""
    account = api.account()["id"]
    assert api.get(f"/api/accounts/{account}/entries").json == {"data": [], "next_cursor": None, "previous_cursor": None}
    for path in ("/api/accounts/99/entries", "/api/accounts/x/entries", "/api/accounts/99/balance?at=2020-01-01T00:00:00Z"):
        assert api.get(path).code == "not_found"
