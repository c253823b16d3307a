"""Accounts over HTTP: opening, limits, status, and what a balance forbids."""

from __future__ import annotations

import pytest

from tests.client import ApiClient


def test_an_account_is_opened_and_read(api: ApiClient) -> None:
    """With its defaults, an owner, and a balance of nothing."""
    user = api.user()
    made = api.post("/api/accounts", {"asset": "POINTS/0", "user_id": user["id"], "metadata": {"tier": "gold"}})
    assert made.status == 201
    account = made.json
    assert (account["balance"], account["held"], account["available"], account["version"]) == (0, 0, 0, 0)
    assert (account["min_balance"], account["max_balance"], account["status"]) == (0, None, "open")
    assert api.get(made.headers["Location"]).json == account
    assert api.get(f"/api/accounts?user_id={user['id']}").json["data"] == [account]
    assert api.get(f"/api/accounts/{account['id']}/balance").json["balance"] == 0


def test_an_account_of_an_unknown_user_is_refused(api: ApiClient) -> None:
    """404 that names the field."""
    reply = api.post("/api/accounts", {"asset": "USD/2", "user_id": 99})
    assert (reply.status, reply.code, reply.fields) == (404, "not_found", ["user_id"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "asset"),
        ({"asset": "usd/2"}, "asset"),
        ({"asset": "USD"}, "asset"),
        ({"asset": "USD/02"}, "asset"),
        ({"asset": "USD/2\n"}, "asset"),
        ({"asset": "USD/2", "min_balance": 1}, "min_balance"),
        ({"asset": "USD/2", "max_balance": -1}, "max_balance"),
        ({"asset": "USD/2", "balance": 5}, "balance"),
        ({"asset": "USD/2", "user_id": 0}, "user_id"),
        ({"asset": "USD/2", "user_id": "1"}, "user_id"),
    ],
    ids=repr,
)
def test_a_wrong_account(api: ApiClient, body: dict, field: str) -> None:
    """422 that names the field."""
    reply = api.post("/api/accounts", body)
    assert (reply.status, reply.fields) == (422, [field])


def test_settings_change_and_the_rest_stays(api: ApiClient) -> None:
    """PATCH changes what it names; the entity tag guards against a change in between."""
    account = api.account(metadata={"a": 1})
    path = f"/api/accounts/{account['id']}"
    tag = api.get(path).headers["ETag"]
    changed = api.call("PATCH", path, {"min_balance": -500}, If_Match=tag)
    assert (changed.status, changed.json["min_balance"], changed.json["metadata"]) == (200, -500, {"a": 1})
    stale = api.call("PATCH", path, {"min_balance": None}, If_Match=tag)
    assert (stale.status, stale.code) == (412, "version_mismatch")
    assert api.call("PATCH", path, {"min_balance": None}, If_Match="*").json["min_balance"] is None


@pytest.mark.parametrize("tag", ["3", '"', '""', '"a", "b"', 'W/"1"'])
def test_a_malformed_entity_tag(api: ApiClient, tag: str) -> None:
    """422 that names the header; a weak tag never guards a write."""
    account = api.account()
    reply = api.call("PATCH", f"/api/accounts/{account['id']}", {"status": "frozen"}, If_Match=tag)
    assert (reply.status, reply.fields) == (422, ["If-Match"])


def test_the_version_counts_transfers_alone(api: ApiClient) -> None:
    """A change of settings leaves the version, so the entries of an account have no gap."""
    world, account = api.account(min_balance=None), api.account()
    api.transfer(world["id"], account["id"], 5)
    api.call("PATCH", f"/api/accounts/{account['id']}", {"metadata": {"a": 1}})
    assert api.transfer(world["id"], account["id"], 5).json["to_version"] == 2


def test_limits_hold(api: ApiClient) -> None:
    """A debit stops at the floor, a credit at the ceiling; a limit that the balance breaks already is a conflict."""
    world, account = api.account(min_balance=None), api.account(min_balance=-100, max_balance=50)
    assert api.transfer(world["id"], account["id"], 51).code == "limit_exceeded"
    assert api.transfer(world["id"], account["id"], 50).status == 201
    assert api.transfer(account["id"], world["id"], 151).code == "insufficient_funds"
    assert api.transfer(account["id"], world["id"], 150).json["from_balance"] == -100
    path = f"/api/accounts/{account['id']}"
    for change, field in (({"min_balance": 0}, "min_balance"), ({"max_balance": -101}, "max_balance")):
        reply = api.call("PATCH", path, change)
        assert (reply.status, reply.code, reply.fields) == (409, "conflict", [field])
    assert api.get(path).json["min_balance"] == -100


def test_a_frozen_account_takes_part_in_nothing_until_it_is_open(api: ApiClient) -> None:
    """Neither side."""
    world, account = api.account(min_balance=None), api.account(min_balance=None)
    path = f"/api/accounts/{account['id']}"
    assert api.call("PATCH", path, {"status": "frozen"}).status == 200
    assert api.transfer(world["id"], account["id"], 5).fields == ["to_account_id"]
    assert api.transfer(account["id"], world["id"], 5).code == "account_frozen"
    assert api.call("PATCH", path, {"status": "open"}).status == 200
    assert api.transfer(account["id"], world["id"], 5).status == 201


def test_an_account_closes_empty_and_for_ever(api: ApiClient) -> None:
    """409 while there is a balance, and for every change afterwards."""
    world, account = api.account(min_balance=None), api.account()
    path = f"/api/accounts/{account['id']}"
    api.transfer(world["id"], account["id"], 5)
    reply = api.call("PATCH", path, {"status": "closed"})
    assert (reply.status, reply.fields) == (409, ["status"])
    api.transfer(account["id"], world["id"], 5)
    assert api.call("PATCH", path, {"status": "closed"}).json["status"] == "closed"
    assert api.call("PATCH", path, {"status": "open"}).code == "conflict"
    assert api.transfer(world["id"], account["id"], 5).code == "account_closed"


def test_a_change_of_nothing_is_an_error(api: ApiClient) -> None:
    """An empty object changes nothing and says so."""
    assert api.call("PATCH", f"/api/accounts/{api.account()['id']}", {}).code == "invalid_input"


def test_a_user_stays_while_accounts_are_open(api: ApiClient) -> None:
    """409, then 204 once they are closed; a closed account outlives its owner."""
    user = api.user()
    account = api.account(user_id=user["id"])
    assert api.call("DELETE", f"/api/users/{user['id']}").code == "conflict"
    api.call("PATCH", f"/api/accounts/{account['id']}", {"status": "closed"})
    gone = api.call("DELETE", f"/api/users/{user['id']}")
    assert (gone.status, gone.body) == (204, b"")
    assert "Content-Type" not in gone.headers
    assert api.get(f"/api/accounts/{account['id']}").json["user_id"] is None
