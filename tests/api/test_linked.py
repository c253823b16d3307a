"""Transfers that are linked, all or none; and dry runs of everything that posts."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from service.app import Application
from service.concurrency.context import background
from service.database import open_keys
from service.ledger.grants import Grant
from tests.client import ApiClient, Reply
from tests.conftest import make_key
from tests.invariants import check_invariants

PATH = "/api/transfers/linked"


@pytest.fixture
def trio(api: ApiClient, database_url: str) -> Any:
    """The outside world, and two accounts with nothing; at the end the books balance."""
    yield api.account(min_balance=None)["id"], api.account()["id"], api.account()["id"]
    check_invariants(database_url)


def leg(source: int, target: int, amount: int, **more: Any) -> dict[str, Any]:
    """One of several."""
    return {"from_account_id": source, "to_account_id": target, "amount": amount, **more}


def post(api: ApiClient, *legs: dict[str, Any], **headers: str) -> Reply:
    """Post legs together."""
    return api.post(PATH, {"transfers": list(legs)}, **headers)


def rows(database_url: str) -> list[tuple]:
    """How much there is in each table that posting writes, and the accounts."""
    with psycopg.connect(database_url) as conn:
        tables = ("transfers", "idempotency_keys", "open_holds")
        counts = [conn.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
        return [*counts, *conn.execute("SELECT id, balance, held, version, updated_at FROM accounts ORDER BY id")]


def test_linked_transfers_are_posted_in_their_order(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """One may spend what another has brought; each tells of the first, and a replay has all of them."""
    world, first, second = trio
    legs = leg(world, first, 100), leg(first, second, 60, reference="fee"), leg(first, second, 40, hold=True, expires_in_s=60)
    made = post(api, *legs, Idempotency_Key="k")
    assert made.status == 201
    transfers = made.json["transfers"]
    assert [(t["kind"], t["amount"], t["from_balance"], t["from_held"]) for t in transfers] == [
        ("transfer", 100, -100, 0), ("transfer", 60, 40, 0), ("hold", 40, 40, 40),
    ]
    assert {t["linked_id"] for t in transfers} == {transfers[0]["id"]}
    assert made.headers["Location"] == f"/api/transfers/{transfers[0]['id']}"
    assert [api.get(f"/api/transfers/{t['id']}").json for t in transfers] == transfers
    again = post(api, *legs, Idempotency_Key="k")
    assert (again.status, again.headers["Idempotency-Replayed"], again.json) == (200, "true", made.json)
    assert api.get(f"/api/accounts/{second}").json["balance"] == 60


def test_one_that_is_refused_undoes_all(api: ApiClient, database_url: str, trio: tuple[int, int, int]) -> None:
    """Nothing is left, accounts included; the error has its number, and stays under the key."""
    world, first, second = trio
    before = rows(database_url)
    short = post(api, leg(world, first, 10), leg(world, second, 10, hold=True), leg(first, second, 11))
    assert (short.status, short.code, short.fields) == (422, "insufficient_funds", ["transfers[2].amount"])
    assert rows(database_url) == before
    nobody = post(api, leg(world, first, 10), leg(world, 999, 10), Idempotency_Key="k")
    assert (nobody.status, nobody.fields) == (404, ["transfers[1].to_account_id"])
    assert post(api, leg(world, first, 10), leg(world, 999, 10), Idempotency_Key="k").fields == nobody.fields
    other = post(api, leg(world, first, 10), leg(world, second, 10), Idempotency_Key="k")
    assert (other.code, other.fields) == ("idempotency_key_reused", ["Idempotency-Key"])


@pytest.mark.parametrize(
    ("legs", "fields"),
    [
        (None, ["transfers"]), ([], ["transfers"]), ([leg(1, 2, 1)], ["transfers"]), ([leg(1, 2, 1)] * 101, ["transfers"]),
        ({"0": leg(1, 2, 1)}, ["transfers"]), ([leg(1, 2, 1), 7], ["transfers[1]"]),
        ([leg(1, 2, 1), leg(1, 2, 0)], ["transfers[1].amount"]),
        ([leg(1, 2, 1.0), leg(1, 2, 2**53)], ["transfers[0].amount", "transfers[1].amount"]),
        ([leg(1, 2, 1), leg(1, 2, 1, expires_in_s=5)], ["transfers[1].expires_in_s"]),
        ([leg(1, 2, 1), leg(1, 2, 1, transfers=[])], ["transfers[1].transfers"]),
        ([leg(1, 2, 1), {}], [f"transfers[1].{name}" for name in ("from_account_id", "to_account_id", "amount")]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named_with_its_number(
    api: ApiClient, database_url: str, trio: tuple[int, int, int], legs: Any, fields: list[str]
) -> None:
    """422 `invalid_input` for numbers of legs and for their fields; nothing is posted."""
    before = rows(database_url)
    reply = api.post(PATH, {} if legs is None else {"transfers": legs})
    assert (reply.status, reply.code, sorted(reply.fields)) == (422, "invalid_input", sorted(fields))
    assert rows(database_url) == before


def test_a_flood_of_unknown_fields_is_cut(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """What is told back has a bound in each leg."""
    reply = post(api, leg(1, 2, 1, **{f"x{n}": n for n in range(5_000)}), leg(1, 2, 1))
    assert reply.status == 422
    assert len(reply.fields) == 20


def test_a_hundred_legs(api: ApiClient, trio: tuple[int, int, int]) -> None:
    """Are as many as there may be."""
    world, first, _ = trio
    made = post(api, *[leg(world, first, n) for n in range(1, 101)])
    assert made.status == 201
    assert [t["to_version"] for t in made.json["transfers"]] == list(range(1, 101))


def test_an_account_of_another_ledger_is_not_there(
    api: ApiClient, application: Application, database_url: str, trio: tuple[int, int, int]
) -> None:
    """In no leg."""
    world, first, _ = trio
    theirs = ApiClient(application, make_key(database_url, "other")).account(min_balance=None)["id"]
    reply = post(api, leg(world, first, 1), leg(theirs, first, 1))
    assert (reply.status, reply.fields) == (404, ["transfers[1].from_account_id"])


def test_a_key_must_be_allowed_every_debit(
    api: ApiClient, application: Application, database_url: str, ledger: str, trio: tuple[int, int, int]
) -> None:
    """Each leg that it may not debit is named, and none is posted."""
    world, first, second = trio
    with open_keys(database_url) as keys:
        token = keys.create(background(), Grant(scopes=("write",), debit_accounts=(world,)), ledger=ledger).token
    clerk = ApiClient(application, token)
    reply = post(clerk, leg(world, first, 5), leg(first, second, 1), leg(second, first, 1))
    assert (reply.status, reply.code) == (403, "forbidden")
    assert reply.fields == ["transfers[1].from_account_id", "transfers[2].from_account_id"]
    assert post(clerk, leg(world, first, 5), leg(world, second, 5)).status == 201


def test_a_dry_run_tells_and_posts_nothing(api: ApiClient, database_url: str, trio: tuple[int, int, int]) -> None:
    """200 with what the real one would answer, but for its id and time; no row, no key, no account is touched."""
    world, first, second = trio
    held = api.transfer(world, first, 50, hold=True).json["id"]
    plain = api.transfer(world, first, 50).json["id"]
    calls = [
        ("/api/transfers", leg(world, first, 10, reference="r", metadata={"a": 1})),
        ("/api/transfers", leg(world, first, 10, hold=True)),
        (PATH, {"transfers": [leg(world, first, 10), leg(first, second, 15)]}),
        (f"/api/transfers/{held}/capture", {"amount": 20}), (f"/api/transfers/{plain}/reverse", {}),
    ]
    for number, (path, body) in enumerate(calls):
        before = rows(database_url)
        tried = api.post(f"{path}?dry_run=true", body, Idempotency_Key=f"k{number}")
        assert tried.status == 200
        assert not {"Location", "Ledger-Position", "Idempotency-Replayed"} & tried.headers.keys()
        assert rows(database_url) == before
        for transfer in tried.json.get("transfers", [tried.json]):
            assert (transfer["id"], transfer["linked_id"]) == (None, None)
        made = api.post(f"{path}?dry_run=false", body, Idempotency_Key=f"k{number}")
        assert made.status == 201
        assert comparable(made.json) == comparable(tried.json)
        again = api.post(f"{path}?dry_run=true", body, Idempotency_Key=f"k{number}")
        assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")


def comparable(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Without what a dry run cannot know."""
    unknown = ("id", "created_at", "linked_id", "resolved_by_id", "status")
    return [
        {name: value for name, value in transfer.items() if name not in unknown}
        for transfer in content.get("transfers", [content])
    ]


def test_a_dry_run_is_refused_as_the_real_one(api: ApiClient, database_url: str, trio: tuple[int, int, int]) -> None:
    """And the refusal is not kept."""
    world, first, second = trio
    before = rows(database_url)
    tried = api.post("/api/transfers?dry_run=true", leg(first, second, 5), Idempotency_Key="k")
    assert (tried.status, tried.code, tried.fields) == (422, "insufficient_funds", ["amount"])
    linked = api.post(f"{PATH}?dry_run=true", {"transfers": [leg(world, first, 5), leg(first, second, 6)]})
    assert linked.fields == ["transfers[1].amount"]
    assert rows(database_url) == before
    api.transfer(world, first, 5)
    assert api.post("/api/transfers", leg(first, second, 5), Idempotency_Key="k").status == 201


@pytest.mark.parametrize("query", ["dry_run=yes", "dry_run=", "dry_run=true&dry_run=true", "dryrun=true", "dry_run=1"])
def test_a_wrong_parameter_posts_nothing(api: ApiClient, database_url: str, trio: tuple[int, int, int], query: str) -> None:
    """A dry run that is misspelt must not move money."""
    before = rows(database_url)
    world, first, _ = trio
    assert api.post(f"/api/transfers?{query}", leg(world, first, 5)).code == "invalid_input"
    assert rows(database_url) == before
