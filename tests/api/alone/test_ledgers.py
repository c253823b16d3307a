"""Ledgers over HTTP, for operators."""

from __future__ import annotations

import pytest

from service.api.answers import LedgerAnswer
from service.app import Application
from tests.client import ApiClient
from tests.conftest import make_key


@pytest.fixture
def operator(application: Application, database_url: str) -> ApiClient:
    """A client with an operator key of ledger main."""
    return ApiClient(application, make_key(database_url, "main", "operator"))


def test_a_ledger_is_made_and_read(operator: ApiClient) -> None:
    """201 with its path, and the same again from there."""
    made = operator.post("/api/ledgers", {"name": "shop-1"})
    assert made.status == 201
    assert LedgerAnswer().validate(made.json) == {}
    assert made.json["name"] == "shop-1"
    assert operator.get(made.headers["Location"]).json == made.json
    assert operator.get("/api/ledgers/99").code == "not_found"


def test_a_taken_name_is_a_conflict(operator: ApiClient) -> None:
    """409 that blames the name."""
    again = operator.post("/api/ledgers", {"name": "main"})
    assert (again.status, again.code, again.fields) == (409, "conflict", ["name"])


@pytest.mark.parametrize("name", ["", "Shop", "a b", "-a", "a" * 64, 5, None])
def test_a_wrong_name_is_named(operator: ApiClient, name: object) -> None:
    """422, with what would be right."""
    reply = operator.post("/api/ledgers", {"name": name})
    assert (reply.status, reply.fields) == (422, ["name"])


def test_ledgers_are_listed_in_pages(operator: ApiClient) -> None:
    """In the order of making."""
    for number in range(4):
        operator.post("/api/ledgers", {"name": f"shop-{number}"})
    seen = [ledger["name"] for ledger in operator.whole_list("/api/ledgers", 2)]
    assert seen == ["main", "shop-0", "shop-1", "shop-2", "shop-3"]


def test_ledgers_are_the_operators_alone(api: ApiClient) -> None:
    """An admin key of one ledger neither sees nor makes any."""
    assert (api.get("/api/ledgers").status, api.get("/api/ledgers/1").status) == (403, 403)
    assert api.post("/api/ledgers", {"name": "shop"}).code == "forbidden"


def test_an_operator_sees_nothing_of_what_a_ledger_holds(operator: ApiClient) -> None:
    """It manages ledgers and keys, and no money."""
    for path in ("/api/users", "/api/accounts", "/api/transfers"):
        assert operator.get(path).code == "forbidden"
        assert operator.post(path, {}).code == "forbidden"
