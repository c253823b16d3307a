"""Users over HTTP."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from service.app import Application
from service.config import Config
from tests.client import ApiClient

ADA = {"name": "Ada", "email": "ada@example.com"}


def test_a_user_is_created_read_replaced_and_removed(api: ApiClient) -> None:
    """The life of a user, with its version as entity tag."""
    made = api.post("/api/users", {"name": "Ada", "email": "ada@example.com", "metadata": {"tier": 1}})
    assert made.status == 201
    path = made.headers["Location"]
    assert made.headers["ETag"] == '"1"'
    assert api.get(path).json == made.json

    replaced = api.call("PUT", path, {"name": "Ada L.", "email": "ada@example.com"}, If_Match='"1"')
    assert (replaced.status, replaced.json["version"], replaced.json["metadata"]) == (200, 2, {})

    assert api.call("DELETE", path).status == 204
    assert api.get(path).code == "not_found"


def rename_by_hand(database_url: str, name: str) -> None:
    """Behind the application's back, and without a word to whoever listens."""
    with psycopg.connect(database_url.replace("ledgerd@", "postgres@"), autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")  # no trigger fires
        conn.execute("UPDATE users SET name = %s", (name,))


def test_a_read_is_answered_from_the_cache_unless_it_asks_for_more(api: ApiClient, database_url: str) -> None:
    """`no-cache` and a position read the database, and `no-cache` refreshes what is kept."""
    made = api.post("/api/users", ADA)
    path = made.headers["Location"]
    api.get(path)
    rename_by_hand(database_url, "Byron")
    assert api.get(path).json["name"] == "Ada"
    assert api.get(path, Ledger_Position=made.headers["Ledger-Position"]).json["name"] == "Byron"
    assert api.get(path, Cache_Control="max-age=0, No-Cache").json["name"] == "Byron"
    assert api.get(path).json["name"] == "Byron"


def test_without_a_cache_every_read_asks_the_database(config: Config, database_url: str, key: str) -> None:
    """LEDGERD_USER_CACHE=0."""
    app = Application(replace(config, user_cache=0)).open()
    api = ApiClient(app, key)
    path = api.post("/api/users", ADA).headers["Location"]
    api.get(path)
    rename_by_hand(database_url, "Byron")
    assert api.get(path).json["name"] == "Byron"
    assert app.close(10) == []


@pytest.mark.parametrize(
    ("header", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"7", W/"1"', 304), ('"a,b","1"', 304), ("*", 304), ('"2"', 200), ("1", 200), ("", 200)],
)
def test_a_client_that_has_this_version_gets_no_body(api: ApiClient, header: str, status: int) -> None:
    """RFC 9110, 13.1.2: lists, weak comparison, and `*`; what is no entity tag is passed over."""
    path = api.post("/api/users", ADA).headers["Location"]
    reply = api.get(path, If_None_Match=header)
    assert (reply.status, reply.headers["ETag"], reply.body == b"") == (status, '"1"', status == 304)
    api.call("PUT", path, ADA)
    assert api.get(path, If_None_Match='"1"').status == 200
    assert api.get("/api/users/99", If_None_Match="*").status == 404
