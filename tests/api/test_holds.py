"""Holds over HTTP: set aside, capture, release, expire; and reversals of what was moved."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from service.app import Application
from service.concurrency.context import background
from service.concurrency.primitives import Parking
from service.database import open_keys
from service.ledger.grants import Grant
from tests.client import ApiClient, Reply
from tests.invariants import check_invariants
from tests.serving import wait_until


@pytest.fixture
def trio(api: ApiClient, database_url: str) -> Any:
    """The outside world, an account with 100, and one with nothing; at the end the books balance."""
    world, payer, payee = api.account(min_balance=None)["id"], api.account()["id"], api.account()["id"]
    assert api.transfer(world, payer, 100).status == 201
    yield world, payer, payee
    check_invariants(database_url)


def hold(api: ApiClient, source: int, target: int, amount: int, **fields: Any) -> int:
    """The id of a new hold."""
    reply = api.transfer(source, target, amount, hold=True, **fields)
    assert reply.status == 201, reply.body
    return int(reply.json["id"])


def act(api: ApiClient, number: int, what: str, body: dict | None = None, **headers: str) -> Reply:
    """Capture, release or reverse."""
    return api.post(f"/api/transfers/{number}/{what}", body or {}, **headers)


def money(api: ApiClient, account: int) -> tuple[int, int, int]:
    """Balance, held and available."""
    told = api.get(f"/api/accounts/{account}/balance").json
    return told["balance"], told["held"], told["available"]


def test_a_hold_sets_aside_and_a_capture_moves_a_part(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Balance, held and available at each step; the rest of the hold is free again, and each row tells of the other."""
    _, payer, payee = trio
    made = api.transfer(payer, payee, 60, hold=True, expires_in_s=60, reference="room 7").json
    assert (made["kind"], made["status"], made["from_balance"], made["from_held"]) == ("hold", "open", 100, 60)
    assert made["created_at"] < made["expires_at"]
    assert money(api, payer) == (100, 60, 40)
    assert api.transfer(payer, payee, 41).code == "insufficient_funds"
    captured = act(api, made["id"], "capture", {"amount": 45, "reference": "bill"})
    row = captured.json
    assert (captured.status, row["kind"], row["amount"], row["resolves_id"]) == (201, "capture", 45, made["id"])
    assert (row["from_balance"], row["to_balance"], row["from_held"], row["reference"]) == (55, 45, 0, "bill")
    assert api.get(captured.headers["Location"]).json == row
    assert (money(api, payer), money(api, payee)) == ((55, 0, 55), (45, 0, 45))
    now = api.get(f"/api/transfers/{made['id']}").json
    assert now == {**made, "status": "captured", "resolved_by_id": row["id"]}


def test_a_capture_without_an_amount_takes_all(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """And names the same request as one with the whole amount."""
    _, payer, payee = trio
    number = hold(api, payer, payee, 60)
    assert act(api, number, "capture", {"amount": None}, Idempotency_Key="k").json["amount"] == 60
    again = act(api, number, "capture", {"amount": 60}, Idempotency_Key="k")
    assert (again.status, again.headers["Idempotency-Replayed"], again.json["amount"]) == (200, "true", 60)


def test_a_release_gives_back(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """The row has the hold's amount, and no balance has moved."""
    _, payer, payee = trio
    number = hold(api, payer, payee, 60)
    row = act(api, number, "release").json
    assert (row["kind"], row["amount"], row["from_balance"], row["to_balance"], row["from_held"]) == ("release", 60, 100, 0, 0)
    assert api.get(f"/api/transfers/{number}").json["status"] == "released"
    assert money(api, payer) == (100, 0, 100)


def test_a_hold_expires_by_itself(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Nobody asks, and it is given back by a row of the kind `expiry`; then it can be neither captured nor released."""
    _, payer, payee = trio
    number = hold(api, payer, payee, 60, expires_in_s=1)
    lasting = hold(api, payer, payee, 5, expires_in_s=1000)
    wait_until(lambda: api.get(f"/api/transfers/{number}").json["status"] == "expired", 30)
    gone = api.get(f"/api/transfers/{number}").json
    expiry = api.get(f"/api/transfers/{gone['resolved_by_id']}").json
    assert (expiry["kind"], expiry["amount"], expiry["resolves_id"]) == ("expiry", 60, number)
    assert gone["expires_at"] <= expiry["created_at"]
    assert money(api, payer) == (100, 5, 95)
    assert [act(api, number, what).code for what in ("capture", "release")] == ["hold_resolved"] * 2
    assert api.get(f"/api/transfers/{lasting}").json["status"] == "open"


def test_an_expired_hold_is_refused_before_the_task_comes_by(config: Any, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though `held` still has it."""
    monkeypatch.setattr("service.ledger.expiry.Expiry.run", lambda _self, ctx: ctx.park(Parking()))
    app = Application(config).open()
    try:
        api = ApiClient(app, key)
        payer, payee = api.account(min_balance=None)["id"], api.account()["id"]
        number = hold(api, payer, payee, 60, expires_in_s=1)
        end = api.get(f"/api/transfers/{number}").json["expires_at"]
        wait_until(lambda: api.get(f"/api/accounts/{payer}/balance?at={end}").status == 200, 30)  # by the database's clock
        assert [act(api, number, what).code for what in ("capture", "release")] == ["hold_resolved"] * 2
        assert money(api, payer)[1] == 60
        assert app.resources.expiry.give_back(background()) == 1
        assert app.resources.expiry.give_back(background()) == 0
        assert money(api, payer) == (0, 0, 0)
    finally:
        assert app.close(10) == []


def test_a_hold_is_resolved_once(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """A second capture or release is refused whatever the first was; and the refusal stays under its key."""
    _, payer, payee = trio
    for first in ("capture", "release"):
        number = hold(api, payer, payee, 10)
        assert act(api, number, first).status == 201
        for second in ("capture", "release"):
            for _ in range(2):
                reply = act(api, number, second, {}, Idempotency_Key=f"{first} {second}".replace(" ", "-"))
                assert (reply.status, reply.code, reply.fields) == (422, "hold_resolved", ["hold_id"])


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("capture", {"amount": 0}, "amount"), ("capture", {"amount": -1}, "amount"), ("capture", {"amount": 1.0}, "amount"),
        ("capture", {"amount": "5"}, "amount"), ("capture", {"amount": 2**53}, "amount"),
        ("capture", {"amount": True}, "amount"), ("capture", {"hold": True}, "hold"),
        ("release", {"amount": 5}, "amount"), ("reverse", {"amount": 5}, "amount"),
        ("release", {"reference": ""}, "reference"), ("reverse", {"metadata": []}, "metadata"),
    ],
)
def test_what_is_wrong_in_a_body_is_named(
    api: ApiClient, trio: tuple[int, int, int], what: str, body: dict, field: str
) -> None:
    """422 `invalid_input`, and the hold stays open."""
    _, payer, payee = trio
    number = hold(api, payer, payee, 10)
    reply = act(api, number, what, body)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert api.get(f"/api/transfers/{number}").json["status"] == "open"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"expires_in_s": 60}, "expires_in_s"), ({"hold": False, "expires_in_s": 60}, "expires_in_s"),
        ({"hold": True, "expires_in_s": 0}, "expires_in_s"), ({"hold": True, "expires_in_s": 31_622_401}, "expires_in_s"),
        ({"hold": True, "expires_in_s": 1.5}, "expires_in_s"), ({"hold": 1}, "hold"), ({"hold": "true"}, "hold"),
        ({"hold": None}, "hold"), ({"hold": True, "expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"kind": "capture"}, "kind"), ({"resolves_id": 1}, "resolves_id"),
    ],
)
def test_what_is_wrong_with_a_hold_is_named(api: ApiClient, trio: tuple[int, int, int], fields: dict, field: str) -> None:
    """Times without a hold, times out of range, and what is no boolean."""
    _, payer, payee = trio
    reply = api.transfer(payer, payee, 10, **fields)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert money(api, payer) == (100, 0, 100)


def test_only_a_hold_is_captured_and_only_what_moved_is_reversed(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Each kind of row under each verb that is not for it."""
    world, payer, payee = trio
    plain = api.transfer(payer, payee, 10).json["id"]
    held, kept = hold(api, payer, payee, 10), hold(api, payer, payee, 10)
    released = act(api, kept, "release").json["id"]
    reversal = act(api, plain, "reverse").json["id"]
    for number in (plain, released, reversal):
        assert [act(api, number, what).code for what in ("capture", "release")] == ["not_a_hold"] * 2
    for number in (held, kept, released, reversal):
        reply = act(api, number, "reverse")
        assert (reply.status, reply.code, reply.fields) == (422, "not_reversible", ["transfer_id"])
    for what in ("capture", "release", "reverse"):
        assert [act(api, number, what).code for number in (9_999, 0)] == ["not_found"] * 2
    assert act(api, held, "capture", {"amount": 11}).fields == ["amount"]
    assert act(api, held, "capture", {"amount": 11}).code == "limit_exceeded"
    assert world


def test_a_reversal_moves_all_of_it_back_once(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Of a transfer and of a capture; when the money is gone it is refused, and may be repeated with another key."""
    world, payer, payee = trio
    captured = act(api, hold(api, payer, payee, 60), "capture", {"amount": 45}).json["id"]
    assert api.transfer(payee, world, 1).status == 201
    assert act(api, captured, "reverse", {}, Idempotency_Key="early").code == "insufficient_funds"
    assert api.transfer(world, payee, 1).status == 201
    assert act(api, captured, "reverse", {}, Idempotency_Key="early").code == "insufficient_funds"
    made = act(api, captured, "reverse", {"metadata": {"why": "returned"}}, Idempotency_Key="late")
    row = made.json
    assert (row["kind"], row["from_account_id"], row["to_account_id"], row["amount"]) == ("reversal", payee, payer, 45)
    assert (row["resolves_id"], row["metadata"]) == (captured, {"why": "returned"})
    assert act(api, captured, "reverse").code == "already_reversed"
    assert api.get(f"/api/transfers/{captured}").json["status"] == "reversed"
    assert (money(api, payer), money(api, payee)) == ((100, 0, 100), (0, 0, 0))


def test_a_frozen_account_is_captured_from_by_nobody_but_gets_its_hold_back(
    api: ApiClient, trio: tuple[int, int, int]
) -> None:
    """Neither account may be frozen for a capture; a release asks for nothing."""
    _, payer, payee = trio
    number = hold(api, payer, payee, 10)
    for account, field in ((payer, "from_account_id"), (payee, "to_account_id")):
        assert api.call("PATCH", f"/api/accounts/{account}", {"status": "frozen"}).status == 200
        reply = act(api, number, "capture")
        assert (reply.code, reply.fields) == ("account_frozen", [field])
        assert api.transfer(payer, payee, 1, hold=True).code == "account_frozen"
        assert api.call("PATCH", f"/api/accounts/{account}", {"status": "open"}).status == 200
    assert api.call("PATCH", f"/api/accounts/{payer}", {"status": "frozen"}).status == 200
    assert api.call("PATCH", f"/api/accounts/{payee}", {"status": "closed"}).status == 200
    assert act(api, number, "capture").fields == ["to_account_id"]
    assert act(api, number, "release").status == 201


def test_limits_mind_what_is_held(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """A floor above what is available, and closing while something is held, are conflicts that say so."""
    world, payer, payee = trio
    number = hold(api, payer, payee, 60)
    floor = api.call("PATCH", f"/api/accounts/{payer}", {"min_balance": 41})
    assert (floor.status, floor.code, floor.fields) == (409, "conflict", ["min_balance"])
    assert api.call("PATCH", f"/api/accounts/{payer}", {"min_balance": 40}).status == 200
    assert api.call("PATCH", f"/api/accounts/{payer}", {"max_balance": 100}).status == 200
    assert api.transfer(payer, world, 1).code == "insufficient_funds"
    assert api.call("PATCH", f"/api/accounts/{payee}", {"max_balance": 50}).status == 200
    full = act(api, number, "capture")
    assert (full.code, full.fields) == ("limit_exceeded", ["to_account_id"])
    assert act(api, number, "capture", {"amount": 50}).status == 201
    empty = api.account(min_balance=None)["id"]
    waiting = hold(api, empty, payer, 7)
    closed = api.call("PATCH", f"/api/accounts/{empty}", {"status": "closed"})
    assert (closed.status, closed.code, closed.fields) == (409, "conflict", ["status"])
    assert act(api, waiting, "release").status == 201
    assert api.call("PATCH", f"/api/accounts/{empty}", {"status": "closed"}).status == 200


def test_a_key_is_for_one_kind_of_request(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """What one verb has spent another does not replay, though accounts and amounts are equal."""
    _, payer, payee = trio
    first, second = hold(api, payer, payee, 10), hold(api, payer, payee, 10)
    body = {"from_account_id": payer, "to_account_id": payee, "amount": 10}
    assert api.post("/api/transfers", body, Idempotency_Key="k").status == 201
    replies = [
        api.post("/api/transfers", {**body, "hold": True}, Idempotency_Key="k"),
        act(api, first, "capture", {}, Idempotency_Key="k"), act(api, first, "release", {}, Idempotency_Key="k"),
        api.post("/api/transfers/linked", {"transfers": [body, body]}, Idempotency_Key="k"),
    ]
    assert {(reply.status, reply.code) for reply in replies} == {(422, "idempotency_key_reused")}
    assert act(api, first, "capture", {}, Idempotency_Key="c").status == 201
    assert act(api, second, "capture", {}, Idempotency_Key="c").code == "idempotency_key_reused"
    made = api.post("/api/transfers", {**body, "hold": True, "expires_in_s": 60}, Idempotency_Key="h")
    assert api.post("/api/transfers", {**body, "hold": True}, Idempotency_Key="h").code == "idempotency_key_reused"
    assert act(api, made.json["id"], "release").status == 201
    again = api.post("/api/transfers", {**body, "hold": True, "expires_in_s": 60}, Idempotency_Key="h")
    assert (again.status, again.json["status"]) == (200, "released")
    assert act(api, second, "release").status == 201


@pytest.mark.parametrize("what", ["capture", "release", "reverse"])
def test_a_key_must_be_allowed_to_debit(
    api: ApiClient, application: Application, database_url: str, ledger: str, trio: tuple[int, int, int], what: str
) -> None:
    """A hold is the debited account's affair, a reversal that of the one which was credited."""
    _, payer, payee = trio
    debited, other = (payee, payer) if what == "reverse" else (payer, payee)
    number = api.transfer(payer, payee, 10).json["id"] if what == "reverse" else hold(api, payer, payee, 10)
    for account, status in ((other, 403), (debited, 201)):
        grant = Grant(scopes=("transfers:write",), debit_accounts=(account,))
        with open_keys(database_url) as keys:
            token = keys.create(background(), grant, ledger=ledger).token
        reply = act(ApiClient(application, token), number, what)
        assert reply.status == status
        if status == 403:
            assert reply.fields == ["transfer_id" if what == "reverse" else "hold_id"]


def test_a_statement_shows_holds_beside_the_balance(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Their lines leave it as it was, and tell what is held after each, on the credited side too; and so at any time."""
    world, payer, payee = trio
    first = hold(api, payer, payee, 60)
    api.transfer(world, payer, 5)
    act(api, first, "capture", {"amount": 20})
    act(api, hold(api, payer, payee, 8), "release")
    lines = api.get(f"/api/accounts/{payer}/entries?order=asc").json["data"]
    assert [(line["kind"], line["direction"], line["amount"], line["balance"], line["held"]) for line in lines] == [
        ("transfer", "credit", 100, 100, 0), ("hold", "debit", 60, 100, 60), ("transfer", "credit", 5, 105, 60),
        ("capture", "debit", 20, 85, 0), ("hold", "debit", 8, 85, 8), ("release", "debit", 8, 85, 0),
    ]
    of_payee = api.get(f"/api/accounts/{payee}/entries?order=asc").json["data"]
    assert [(line["kind"], line["balance"], line["held"]) for line in of_payee] == [
        ("hold", 0, 0), ("capture", 20, 0), ("hold", 20, 0), ("release", 20, 0),
    ]
    for line in lines:
        then = api.get(f"/api/accounts/{payer}/balance?at={line['created_at']}").json
        assert (then["balance"], then["held"]) == (line["balance"], line["held"])
        assert then["available"] == line["balance"] - line["held"]
    kinds = [line.split(",")[1:3] for line in api.get("/api/transfers/export?format=csv").body.decode().splitlines()]
    assert kinds[:3] == [["kind", "status"], ["transfer", "posted"], ["hold", "captured"]]


def test_what_is_held_has_a_bound(api: ApiClient, database_url: str, trio: tuple[int, int, int]) -> None:
    """Without a floor too: every JSON reader holds it exactly."""
    world, payer, _ = trio
    most = 2**53 - 1
    number = hold(api, world, payer, most)
    reply = api.transfer(world, payer, 1, hold=True)
    assert (reply.status, reply.code, reply.fields) == (422, "limit_exceeded", ["from_account_id"])
    assert act(api, number, "capture").fields == ["from_account_id"]  # its balance is below 0 already
    assert act(api, number, "release").status == 201
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM open_holds WHERE from_account_id = %s", (world,)).fetchone() == (0,)
