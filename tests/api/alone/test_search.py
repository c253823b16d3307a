"""Search: what fits comes first, nothing of another ledger comes at all, and it ends in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from service.app import Application
from service.config import Config
from tests.client import ApiClient
from tests.conftest import make_key
from tests.serving import wait_until

CASES: list[tuple[str, list[tuple[str, int]]]] = [
    ("ada", [("user", 1), ("account", 2), ("user", 2)]),  # a whole word before the beginning of one
    ("ADA love", [("user", 1)]),
    ("love ada", [("user", 1)]),
    ("muller", [("user", 2)]),
    ("müller ludenscheidt", [("user", 2)]),
    ("ÅSA", [("user", 4)]),
    ("o'brien", [("user", 4)]),
    ("ada@example.com", [("user", 1)]),
    ("hopper@navy", [("user", 3)]),
    ("straße", [("account", 2)]),
    ("STRASSE", []),
    ("savings 7", [("account", 2)]),
    ("label", []),
    ("true", []),
    ("inv-1", [("transfer", 6), ("transfer", 5)]),  # the whole reference before the beginning of one
    ("inv", [("transfer", 6), ("transfer", 5)]),
    ("100%_", [("transfer", 7)]),
    ("%%", []),
    ("__", []),
    ("''; DROP TABLE users; --", []),
    ("...", []),
    ('"\\', []),
    ("nobody", []),
    ("4", [("user", 4), ("account", 4)]),
    ("3", [("user", 3), ("account", 3)]),
    ("7", [("transfer", 7), ("account", 2)]),
]


def found(api: ApiClient, q: str, more: str = "") -> list[tuple[str, int]]:
    """Kind and id of each hit."""
    reply = api.get(f"/api/search?q={quote(q)}{more}")
    assert reply.status == 200, reply.body
    return [(hit["kind"], hit[hit["kind"]]["id"]) for hit in reply.json["data"]]


@pytest.fixture
def books(api: ApiClient) -> ApiClient:
    """Four users, four accounts of which two have texts in their metadata, and three transfers with references (5 to 7)."""
    for name, email in [
        ("Ada Lovelace", "ada@example.com"), ("Adalbert Müller-Lüdenscheidt", "adalbert@example.org"),
        ("Grace Hopper", "grace.hopper@navy.example"), ("Åsa O'Brien", "asa@example.com"),
    ]:
        api.user(name, email)
    for metadata in ({}, {"label": "Savings ada", "deep": [{"x": "Straße 7"}]}, {"n": 7, "ada": True}, {}):
        api.account(min_balance=None, metadata=metadata)
    for reference in ("INV-10", "inv-1", "100%_off"):
        api.transfer(1, 2, 1, reference=reference)
    return api


def test_what_fits_is_found_best_first(books: ApiClient) -> None:
    """Words in any order, case and accent; wildcards and quotes are letters like others."""
    for q, hits in CASES:
        assert found(books, q) == hits, q


def test_the_rarest_word_is_looked_for(api: ApiClient, database_url: str) -> None:
    """However many share the others: an exact email, a full name, and words out of both."""
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO users (ledger_id, name, email)"
            " SELECT (SELECT max(id) FROM ledgers), format('Customer %s', n), format('c%s@gmail.com', n)"
            " FROM generate_series(1, 1200) AS n"
        )
    bo = ("user", api.user("Bo Li", "bo@gmail.com")["id"])
    for q in ("bo@gmail.com", "bo li gmail", "gmail com bo"):
        assert found(api, q) == [bo], q
    reply = api.get("/api/search?q=Customer%201199")
    assert [hit["user"]["name"] for hit in reply.json["data"]] == ["Customer 1199"]
    assert len(found(api, "gmail customer")) == 50  # all of them are shared by too many, and still something is found


def test_words_follow_their_user(books: ApiClient) -> None:
    """A new name is found and the old one is not; a removed user is gone."""
    books.call("PUT", "/api/users/3", {"name": "Grace Murray", "email": "grace.hopper@navy.example"})
    assert found(books, "murray") == [("user", 3)]
    assert found(books, "hopper") == [("user", 3)]  # the email has it still
    books.call("PATCH", "/api/accounts/2", {"metadata": {"label": "Spending"}})
    assert found(books, "savings") == []
    assert found(books, "spend") == [("account", 2)]
    assert books.call("DELETE", "/api/users/3").status == 204
    assert found(books, "murray") == []


def test_the_best_are_kept(books: ApiClient) -> None:
    """No more than `limit`, of all kinds together."""
    assert found(books, "ada", "&limit=2") == [("user", 1), ("account", 2)]


@pytest.mark.parametrize("q", ["", " ", "a", "x" * 201, "y" * 1000, "0", " ä "])
def test_a_text_too_short_or_too_long(api: ApiClient, q: str) -> None:
    """422 that names q and its bounds."""
    reply = api.get(f"/api/search?q={quote(q)}")
    assert (reply.status, reply.fields) == (422, ["q"])


@pytest.mark.parametrize(("query", "field"), [("", "q"), ("q=ada&limit=0", "limit"), ("q=ada&x=1", "x"), ("q=a%00b", "q")])
def test_a_wrong_parameter_is_named(api: ApiClient, query: str, field: str) -> None:
    """422."""
    reply = api.get(f"/api/search?{query}")
    assert (reply.status, reply.fields) == (422, [field])


def test_nothing_of_another_ledger_is_found(books: ApiClient, application: Application, database_url: str) -> None:
    """Neither by word, nor by reference, nor by id."""
    other = ApiClient(application, make_key(database_url, "other"))
    assert [found(other, q) for q in ("ada", "inv", "3")] == [[], [], []]


def test_a_search_that_takes_too_long_ends_at_the_database(config: Config, key: str, database_url: str) -> None:
    """504 after its own deadline, whatever the request's is, and no statement goes on."""
    application = Application(replace(config, search_timeout_s=0.2)).open()
    try:
        api: Any = ApiClient(application, key)
        api.get("/api/users")
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE search_words IN ACCESS EXCLUSIVE MODE")
            reply = api.get("/api/search?q=ada")
            assert (reply.status, reply.code) == (504, "deadline_exceeded")
            with psycopg.connect(database_url, autocommit=True) as watcher:
                wait_until(lambda: not running(watcher), 5)
    finally:
        application.close(10)


def running(watcher: psycopg.Connection[Any]) -> int:
    """How many searches the database is at."""
    row = watcher.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE state = 'active' AND query LIKE '%search_words%' AND pid <> pg_backend_pid()"
    ).fetchone()
    assert row is not None
    return int(row[0])
