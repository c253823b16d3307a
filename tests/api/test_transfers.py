"""Transfers over HTTP: posting, idempotency, and reading the log."""

from __future__ import annotations

from typing import Any

import pytest

from service.app import Application
from tests.client import ApiClient
from tests.conftest import make_key


@pytest.fixture
def pair(api: ApiClient) -> tuple[int, int]:
    """An account without a floor, and one with."""
    return api.account(min_balance=None)["id"], api.account()["id"]


def test_a_transfer_tells_both_sides(api: ApiClient, pair: tuple[int, int]) -> None:
    """201 with both balances and versions after it; the same is read back, and the balance agrees."""
    world, account = pair
    made = api.transfer(world, account, 250, reference="order 7", metadata={"n": [1, "ü"]}, asset="USD/2", if_from_version=0)
    assert made.status == 201
    transfer = made.json
    assert (transfer["from_balance"], transfer["to_balance"]) == (-250, 250)
    assert (transfer["from_version"], transfer["to_version"]) == (1, 1)
    assert (transfer["status"], transfer["asset"], transfer["reference"], transfer["metadata"]) == (
        "posted", "USD/2", "order 7", {"n": [1, "ü"]},
    )
    assert api.get(made.headers["Location"]).json == transfer
    assert api.get(f"/api/accounts/{account}/balance").json["balance"] == 250


def test_the_same_key_and_request_are_answered_again(api: ApiClient, pair: tuple[int, int]) -> None:
    """200, marked, with an equal body; the balance moved once. Quoted and bare, the key is the same."""
    body = {"from_account_id": pair[0], "to_account_id": pair[1], "amount": 9, "metadata": {"b": 1, "a": 2}}
    first = api.post("/api/transfers", body, Idempotency_Key="k-1")
    again = api.post("/api/transfers", {**body, "metadata": {"a": 2, "b": 1}}, Idempotency_Key='"k-1"')
    assert (first.status, again.status) == (201, 200)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json == again.json
    assert api.get(f"/api/accounts/{pair[1]}").json["balance"] == 9


@pytest.mark.parametrize(
    "change", [{"amount": 8}, {"reference": "r"}, {"metadata": {"a": 1}}, {"asset": "USD/2"}, {"if_from_version": 0}], ids=repr
)
def test_the_same_key_with_another_request_is_refused(api: ApiClient, pair: tuple[int, int], change: dict) -> None:
    """422 idempotency_key_reused, and nothing is posted."""
    body: dict[str, Any] = {"from_account_id": pair[0], "to_account_id": pair[1], "amount": 9}
    api.post("/api/transfers", body, Idempotency_Key="k-1")
    reply = api.post("/api/transfers", {**body, **change}, Idempotency_Key="k-1")
    assert (reply.status, reply.code, reply.fields) == (422, "idempotency_key_reused", ["Idempotency-Key"])
    assert api.get(f"/api/accounts/{pair[1]}").json["balance"] == 9


def test_a_refused_key_stays_refused(api: ApiClient, pair: tuple[int, int]) -> None:
    """Also after the reason is gone; a new key succeeds."""
    body = {"from_account_id": pair[1], "to_account_id": pair[0], "amount": 9}
    refused = api.post("/api/transfers", body, Idempotency_Key="early")
    api.transfer(pair[0], pair[1], 100)
    again = api.post("/api/transfers", body, Idempotency_Key="early")
    assert (refused.code, again.code) == ("insufficient_funds", "insufficient_funds")
    assert api.post("/api/transfers", body, Idempotency_Key="late").status == 201


def test_ledgers_do_not_share_keys(api: ApiClient, application: Application, database_url: str, pair: tuple[int, int]) -> None:
    """The same key in another ledger is another key."""
    other = ApiClient(application, make_key(database_url, "other"))
    theirs = other.account(min_balance=None)["id"], other.account()["id"]
    for client, (source, target) in ((api, pair), (other, theirs)):
        body = {"from_account_id": source, "to_account_id": target, "amount": 9}
        assert client.post("/api/transfers", body, Idempotency_Key="same").status == 201


def test_an_expected_version_guards_a_transfer(api: ApiClient, pair: tuple[int, int]) -> None:
    """412 when the debited account has moved on, 201 when not."""
    api.transfer(pair[0], pair[1], 1)
    stale = api.transfer(pair[0], pair[1], 1, if_from_version=0)
    assert (stale.status, stale.code) == (412, "version_mismatch")
    assert api.transfer(pair[0], pair[1], 1, if_from_version=1).status == 201


def pages(api: ApiClient, path: str) -> list[int]:
    """The ids of a list, page by page."""
    return [row["id"] for row in api.whole_list(path, 3)]


def test_every_row_is_on_one_page(api: ApiClient, pair: tuple[int, int]) -> None:
    """Users and accounts in order of id, transfers newest first, those of an account from both sides."""
    third = api.account(min_balance=None)["id"]
    users = [api.user(email=f"{n}@example.com")["id"] for n in range(7)]
    turns = [(pair[0], third), (third, pair[0]), (pair[0], pair[1])]
    made = [api.transfer(*turns[n % 3], 1).json for n in range(10)]
    assert pages(api, "/api/users") == users
    assert pages(api, "/api/accounts") == [*pair, third]
    assert pages(api, "/api/transfers") == [t["id"] for t in reversed(made)]
    of_third = [t["id"] for t in reversed(made) if third in (t["from_account_id"], t["to_account_id"])]
    assert pages(api, f"/api/transfers?account_id={third}") == of_third


def test_a_cursor_is_good_for_its_list_alone(api: ApiClient, application: Application, database_url: str) -> None:
    """Not for another list, other filters, another ledger, nor when a letter of it is changed."""
    for n in range(3):
        api.user(email=f"{n}@example.com")
    cursor = api.get("/api/users?limit=1").json["next_cursor"]
    other = ApiClient(application, make_key(database_url, "other"))
    forged = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for reply in (
        api.get(f"/api/accounts?cursor={cursor}"),
        api.get(f"/api/users?email=1@example.com&cursor={cursor}"),
        other.get(f"/api/users?cursor={cursor}"),
        api.get(f"/api/users?cursor={forged}"),
        api.get(f"/api/users?cursor={cursor[:-4]}"),
    ):
        assert (reply.status, reply.fields) == (422, ["cursor"])
    assert api.get(f"/api/users?limit=2&cursor={cursor}").status == 200


def test_a_user_is_found_by_email(api: ApiClient) -> None:
    """In any case; nobody is an empty list."""
    user = api.user()
    assert api.get("/api/users?email=ADA@example.com").json["data"] == [user]
    assert api.get("/api/users?email=nobody@example.com").json["data"] == []
