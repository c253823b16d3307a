"""Bulk requests: thousands of transfers in one, each on its own or all as one, and once for ever."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.api.bulk import AT_ONCE, MOST_BODY, MOST_PROBLEMS
from service.api.schemas import MOST_IN_BULK
from service.app import Application
from service.ledger.bulk import MOST_IN_A_CHUNK
from tests.client import ApiClient, Reply
from tests.conftest import make_key

PATH = "/api/transfers/bulk"


@pytest.fixture
def accounts(api: ApiClient) -> list[int]:
    """The outside world, and two accounts without a penny."""
    return [api.account(min_balance=None)["id"], api.account()["id"], api.account()["id"]]


def item(source: int, target: int, amount: int = 1, **more: Any) -> dict[str, Any]:
    """A transfer."""
    return {"from_account_id": source, "to_account_id": target, "amount": amount, **more}


def send(api: ApiClient, *items: Any, mode: str = "independent", **headers: str) -> Reply:
    """Send a bulk request."""
    return api.post(PATH, {"mode": mode, "transfers": list(items)}, **headers)


def counts(reply: Reply) -> tuple[int, int, int]:
    """Posted, replayed, refused."""
    assert reply.status == 200, reply.body
    return reply.json["posted"], reply.json["replayed"], reply.json["refused"]


def test_each_transfer_has_its_result_in_order(api: ApiClient, accounts: list[int]) -> None:
    """Posted ones with versions and balances, refused ones as they would be alone."""
    world, shop, till = accounts
    items = [item(world, shop, 100), item(shop, till, 200), item(shop, shop), item(shop, till, 30), item(world, 10**9)]
    reply = send(api, *items)
    assert counts(reply) == (2, 0, 3)
    results = reply.json["results"]
    assert [result["status"] for result in results] == [201, 422, 422, 201, 404]
    assert (results[0]["to_balance"], results[3]["from_balance"], results[3]["to_version"]) == (100, 70, 1)
    alone = api.transfer(shop, till, 200)
    assert results[1] == {name: alone.json[name] for name in ("status", "code", "detail", "errors")}
    assert api.get(f"/api/transfers/{results[3]['id']}").json["amount"] == 30
    assert "Ledger-Position" in reply.headers


def test_many_chunks_are_one_answer(api: ApiClient, accounts: list[int]) -> None:
    """In the order of the request, across the places where it is cut."""
    world, shop, _ = accounts
    amounts = range(1, 2 * MOST_IN_A_CHUNK + 2)
    reply = send(api, *(item(world, shop, amount, reference=f"r{amount}") for amount in amounts))
    assert counts(reply) == (len(amounts), 0, 0)
    assert [result["to_version"] for result in reply.json["results"]] == list(amounts)
    last = api.get(f"/api/transfers/{reply.json['results'][-1]['id']}").json
    assert (last["amount"], last["reference"]) == (amounts[-1], f"r{amounts[-1]}")


def test_a_key_makes_a_request_happen_once(api: ApiClient, accounts: list[int]) -> None:
    """The same again has the same results; written in another way it is still the same; a refusal is final too."""
    world, shop, till = accounts
    items = [item(world, shop, amount) for amount in range(1, MOST_IN_A_CHUNK + 2)] + [item(till, shop, 5)]
    first = send(api, *items, Idempotency_Key="k-1")
    assert counts(first) == (MOST_IN_A_CHUNK + 1, 0, 1)
    api.transfer(world, till, 5)
    spelled_out = [{"reference": None, "asset": None, **one} for one in items]
    for again in (send(api, *items, Idempotency_Key="k-1"), send(api, *spelled_out, Idempotency_Key='"k-1"')):
        assert counts(again) == (0, MOST_IN_A_CHUNK + 1, 1)
        for before, after in zip(first.json["results"], again.json["results"], strict=True):
            assert after == before | ({"status": 200} if before["status"] == 201 else {})


@pytest.mark.parametrize("change", ["amount", "number", "mode", "item key"])
def test_a_key_is_spent_for_one_request(api: ApiClient, accounts: list[int], change: str) -> None:
    """Whatever differs, and be it in the last transfer of thousands: nothing is posted, not even what is the same."""
    world, shop, _ = accounts
    items = [item(world, shop) for _ in range(MOST_IN_A_CHUNK + 1)]
    send(api, *items, Idempotency_Key="k")
    before = api.get(f"/api/accounts/{shop}").json["version"]
    if change == "amount":
        items[-1]["amount"] = 2
    elif change == "number":
        items.append(item(world, shop))
    elif change == "item key":
        items[-1]["idempotency_key"] = "x"
    reply = send(api, *items, mode="atomic" if change == "mode" else "independent", Idempotency_Key="k")
    assert (reply.status, reply.code, reply.fields) == (422, "idempotency_key_reused", ["Idempotency-Key"])
    assert api.get(f"/api/accounts/{shop}").json["version"] == before


def test_a_key_is_of_a_bulk_request_or_of_a_transfer(api: ApiClient, accounts: list[int]) -> None:
    """Not of both, in either order; nor of a transfer in the request that it is the key of."""
    world, shop, _ = accounts
    assert counts(send(api, item(world, shop), Idempotency_Key="bulk")) == (1, 0, 0)
    assert api.post("/api/transfers", item(world, shop), Idempotency_Key="bulk").code == "idempotency_key_reused"
    assert api.post("/api/transfers", item(world, shop), Idempotency_Key="single").status == 201
    assert send(api, item(world, shop), Idempotency_Key="single").code == "idempotency_key_reused"
    reply = send(api, item(world, shop, idempotency_key="own"), item(world, shop), Idempotency_Key="own")
    assert [result.get("code") for result in reply.json["results"]] == ["idempotency_key_reused", None]


def test_transfers_have_keys_of_their_own(api: ApiClient, accounts: list[int]) -> None:
    """With the meaning of the header: one twice in a request is posted once, here and elsewhere."""
    world, shop, _ = accounts
    alone = api.post("/api/transfers", item(world, shop, 7), Idempotency_Key="a")
    items = [
        item(world, shop, 7, idempotency_key="a"), item(world, shop, 8, idempotency_key="b"),
        item(world, shop, 8, idempotency_key="b"), item(world, shop, 9, idempotency_key="b"),
    ]
    reply = send(api, *items)
    assert [result["status"] for result in reply.json["results"]] == [200, 201, 200, 422]
    assert reply.json["results"][0]["id"] == alone.json["id"]
    assert reply.json["results"][1]["id"] == reply.json["results"][2]["id"]
    assert counts(send(api, *items)) == (0, 3, 1)
    assert api.post("/api/transfers", item(world, shop, 8), Idempotency_Key="b").status == 200


def test_atomic_is_all(api: ApiClient, accounts: list[int]) -> None:
    """In one transaction, however many they are; later ones may spend what earlier ones brought."""
    world, shop, till = accounts
    items = [item(world, shop, 2) for _ in range(MOST_IN_A_CHUNK)] + [item(shop, till, MOST_IN_A_CHUNK * 2)]
    reply = send(api, *items, mode="atomic", Idempotency_Key="all")
    assert counts(reply) == (len(items), 0, 0)
    assert counts(send(api, *items, mode="atomic", Idempotency_Key="all")) == (0, len(items), 0)
    first, last = (api.get(f"/api/transfers/{reply.json['results'][n]['id']}").json for n in (0, -1))
    assert first["created_at"] == last["created_at"]
    assert first["linked_id"] == last["linked_id"] == first["id"]


def test_holds_are_among_them(api: ApiClient, accounts: list[int]) -> None:
    """In either mode; one that expires must be a hold."""
    world, shop, till = accounts
    items = [item(world, shop, 100), item(shop, till, 60, hold=True, expires_in_s=60), item(shop, till, 60)]
    assert counts(send(api, *items)) == (2, 0, 1)
    assert counts(send(api, item(shop, till, 40, hold=True), mode="atomic")) == (1, 0, 0)
    assert api.get(f"/api/accounts/{shop}").json["held"] == 100
    assert send(api, item(shop, till, 1, expires_in_s=60)).fields == ["transfers[0].expires_in_s"]


def test_atomic_is_none(api: ApiClient, accounts: list[int]) -> None:
    """The first refusal is that of the request, and names the transfer; it is final under its key."""
    world, shop, till = accounts
    items = [item(world, shop, 2), item(shop, till, 1), item(shop, till, 2), item(world, shop, 2)]
    for _ in range(2):
        reply = send(api, *items, mode="atomic", Idempotency_Key="none")
        assert (reply.status, reply.code, reply.fields) == (422, "insufficient_funds", ["transfers[2].amount"])
        assert api.get(f"/api/accounts/{shop}").json["version"] == 0
        assert api.get("/api/transfers").json["data"] == []
    assert send(api, item(world, 10**9), mode="atomic").status == 404
    assert send(api, item(world, shop, if_from_version=7), mode="atomic").status == 412


def test_a_whole_has_one_key(api: ApiClient, accounts: list[int]) -> None:
    """Parts of it cannot have been posted before."""
    reply = send(api, item(*accounts[:2]), item(*accounts[:2], idempotency_key="x"), mode="atomic")
    assert (reply.status, reply.fields) == (422, ["transfers[1].idempotency_key"])


BAD_ITEMS: list[tuple[Any, list[str]]] = [
    ({"from_account_id": 1, "to_account_id": 2}, ["amount"]),
    (item(1, 2, 0), ["amount"]),
    ({**item(1, 2), "amount": 1.5}, ["amount"]),
    ({**item(1, 2), "amount": True}, ["amount"]),
    (item(1, 2, colour="red"), ["colour"]),
    (item(1, 2, idempotency_key='a"b'), ["idempotency_key"]),
    (item(1, 2, idempotency_key=""), ["idempotency_key"]),
    (item(0, 2, -1, asset="usd"), ["amount", "asset", "from_account_id"]),
    ("transfer", [""]), (None, [""]), ([], [""]), (5, [""]),
]


@pytest.mark.parametrize(("bad", "fields"), BAD_ITEMS, ids=lambda value: json.dumps(value)[:40])
@pytest.mark.parametrize("mode", ["independent", "atomic"])
def test_a_bad_item_refuses_the_whole(api: ApiClient, accounts: list[int], bad: Any, fields: list[str], mode: str) -> None:
    """By its place, with what is wrong with it, before anything is posted."""
    good = item(*accounts[:2])
    reply = send(api, good, bad, good, mode=mode)
    assert (reply.status, reply.code) == (422, "invalid_input")
    assert sorted(reply.fields) == [f"transfers[1].{field}" if field else "transfers[1]" for field in fields]
    assert api.get("/api/transfers").json["data"] == []


def test_what_is_told_of_bad_items_is_bounded(api: ApiClient) -> None:
    """However many are wrong."""
    reply = send(api, *({"amount": 0} for _ in range(MOST_IN_BULK)))
    assert (reply.status, len(reply.fields)) == (422, MOST_PROBLEMS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"transfers": []}, "transfers"), ({}, "transfers"), ({"transfers": None}, "transfers"),
        ({"transfers": {}}, "transfers"),
        ({"transfers": [item(1, 2)], "mode": "some"}, "mode"), ({"transfers": [item(1, 2)], "more": 1}, "more"),
        ({"transfers": [item(1, 2)] * (MOST_IN_BULK + 1)}, "transfers"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_the_request_as_a_whole_is_checked(api: ApiClient, body: Any, field: str) -> None:
    """None, too many, an unknown mode or member."""
    reply = api.post(PATH, body)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])


def test_as_many_as_there_may_be(api: ApiClient, accounts: list[int]) -> None:
    """Ten thousand, in more than the megabyte that other bodies may have."""
    world, shop, _ = accounts
    items = [item(world, shop, 1, reference="r" * 60) for _ in range(MOST_IN_BULK)]
    assert len(json.dumps(items)) > 1 << 20
    assert counts(send(api, *items)) == (MOST_IN_BULK, 0, 0)
    assert api.get(f"/api/accounts/{shop}").json["balance"] == MOST_IN_BULK


def test_a_body_has_a_limit(api: ApiClient) -> None:
    """413, by its own limit."""
    reply = api.call("POST", PATH, raw=b" " * (MOST_BODY + 1))
    assert (reply.status, reply.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"null", b'{"transfers": [', b'{"transfers": [{}', b'{"transfers": [{},', b'{"transfers": [{},]}',
        b'{"transfers": [{} {}]}', b'{"transfers": [{}]', b'{"transfers": [{}]} x', b'{"transfers" [{}]}',
        b'{"transfers": [NaN]}', b"{transfers: []}", b'{"transfers": [],}', b'{"a": 1 "transfers": []}',
        b'{"transfers": [\xff]}', b'{"transfers": [1}}', b'{"transfers":' + b"[" * 100_000,
    ],
    ids=lambda raw: raw[:30].decode("latin-1"),
)
def test_what_is_no_json_object_is_refused(api: ApiClient, raw: bytes) -> None:
    """400, wherever it ends or breaks."""
    reply = api.call("POST", PATH, raw=raw)
    assert (reply.status, reply.code) == (400, "malformed_request")


def test_a_member_given_twice_is_named(api: ApiClient) -> None:
    """In an item and beside them."""
    for raw, field in ((b'{"transfers": [{"amount": 1, "amount": 2}]}', "amount"), (b'{"mode": 1, "mode": 2}', "mode")):
        reply = api.call("POST", PATH, raw=raw)
        assert (reply.status, reply.fields) == (422, [field])


def test_a_body_that_is_cut_off_posts_nothing(api: ApiClient, accounts: list[int]) -> None:
    """Though what has come of it would be a transfer."""
    whole = json.dumps({"transfers": [item(*accounts[:2])] * 100}).encode()
    reply = api.call("POST", PATH, raw=whole[: len(whole) // 2])
    assert (reply.status, reply.code) == (400, "malformed_request")
    assert api.get("/api/transfers").json["data"] == []


def test_a_key_debits_its_own_accounts_alone(api: ApiClient, application: Application, accounts: list[int]) -> None:
    """In every item; one that it may not debit refuses the whole."""
    world, shop, till = accounts
    api.transfer(world, shop, 10)
    made = api.post("/api/keys", {"scopes": ["write"], "debit_accounts": [shop]})
    till_key = ApiClient(application, made.json["key"])
    assert counts(send(till_key, item(shop, till), item(shop, till))) == (2, 0, 0)
    reply = send(till_key, item(shop, till), item(world, till))
    assert (reply.status, reply.code, reply.fields) == (403, "forbidden", ["transfers[1].from_account_id"])
    assert api.get(f"/api/accounts/{till}").json["balance"] == 2


def test_ledgers_never_meet(api: ApiClient, application: Application, database_url: str, accounts: list[int]) -> None:
    """Accounts of another ledger are not there, and its keys are others."""
    other = ApiClient(application, make_key(database_url, "other"))
    assert counts(send(api, item(*accounts[:2]), Idempotency_Key="k")) == (1, 0, 0)
    reply = send(other, item(*accounts[:2]), Idempotency_Key="k")
    assert [result["status"] for result in reply.json["results"]] == [404]


def test_more_requests_than_fit_are_told_so(application: Application, api: ApiClient, accounts: list[int]) -> None:
    """At once, and the places come free again."""
    (handlers,) = {route.handler.__self__ for route in application.routes if route.path == PATH}
    for _ in range(AT_ONCE):
        assert handlers._free.acquire_nowait()
    reply = send(api, item(*accounts[:2]))
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "overloaded", "1")
    for _ in range(AT_ONCE):
        handlers._free.release()
    for _ in range(2):
        assert counts(send(api, item(*accounts[:2]))) == (1, 0, 0)
        assert send(api).status == 422
    assert [handlers._free.acquire_nowait() for _ in range(AT_ONCE + 1)] == [True] * AT_ONCE + [False]
