"""Bad input of every kind: a clear error that names what is wrong, and nothing changed."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from werkzeug.test import Client

from service.app import Application
from service.ledger.money import GREATEST_AMOUNT
from tests.api.conftest import new_ledger
from tests.client import ApiClient, Reply
from tests.conftest import make_key

USER = {"name": "Ada", "email": "ada@example.com"}


def contents(database_url: str) -> list[tuple]:
    """Everything that a request could have changed."""
    with psycopg.connect(database_url) as conn:
        return [
            row
            for table in ("users", "accounts", "transfers", "idempotency_keys")
            for row in conn.execute(f"SELECT '{table}', t::text FROM {table} t ORDER BY 2").fetchall()
        ]


@pytest.fixture
def accounts(api: ApiClient) -> list[int]:
    """Account 1 without a floor, 2 and 3 with one, 3 in another asset; and one of another ledger."""
    return [
        api.account(min_balance=None)["id"], api.account()["id"], api.account(asset="JPY/0")["id"],
    ]


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, "malformed_request"),
        (b"  \n", 400, "malformed_request"),
        (b"{", 400, "malformed_request"),
        (b"name=Ada", 400, "malformed_request"),
        (b"\xff\xfe", 400, "malformed_request"),
        (b"[]", 400, "malformed_request"),
        (b'"text"', 400, "malformed_request"),
        (b"null", 400, "malformed_request"),
        (b"{} {}", 400, "malformed_request"),
        (b'{"name": NaN}', 400, "malformed_request"),
        (b'{"name": -Infinity}', 400, "malformed_request"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, 400, "malformed_request"),
        (b'{"a":' * 99 + b"1" + b"}" * 99, 422, "invalid_input"),
        (b'{"a": "' + b"[" * 1_000 + b'"}', 422, "invalid_input"),
        (b"[" * 1_000 + b"]" * 1_000, 400, "malformed_request"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "malformed_request"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "malformed_request"),
        (b'{"name": ' + b"9" * 5_000 + b"}", 400, "malformed_request"),
        (b" " * (2 << 20), 413, "payload_too_large"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else str(value),
)
@pytest.mark.parametrize("path", ["/api/users", "/api/accounts", "/api/transfers"])
def test_a_body_that_is_no_json_object(
    api: ApiClient, database_url: str, path: str, raw: bytes, status: int, code: str
) -> None:
    """The body is refused before any field is looked at, or with the field that is at fault."""
    before = contents(database_url)
    reply = api.call("POST", path, raw=raw)
    assert (reply.status, reply.code) == (status, code)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert contents(database_url) == before


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_that_is_not_declared_as_json(api: ApiClient, content_type: str) -> None:
    """Only application/json is read."""
    reply = api.call("POST", "/api/users", raw=json.dumps(USER).encode(), Content_Type=content_type)
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


def test_a_charset_does_no_harm(api: ApiClient) -> None:
    """Parameters of the media type are accepted."""
    raw = json.dumps(USER).encode()
    assert api.call("POST", "/api/users", raw=raw, Content_Type="Application/JSON; charset=utf-8").status == 201


WRONG_USERS = [
    ({"name": "Ada"}, "email"),
    ({**USER, "name": ""}, "name"),
    ({**USER, "name": "n" * 201}, "name"),
    ({**USER, "name": 5}, "name"),
    ({**USER, "name": None}, "name"),
    ({**USER, "name": "a\x00b"}, "name"),
    ({**USER, "name": "\ud800"}, "name"),
    ({**USER, "email": "ada.example.com"}, "email"),
    ({**USER, "email": "@example.com"}, "email"),
    ({**USER, "email": "ada@"}, "email"),
    ({**USER, "email": "a@b@c"}, "email"),
    ({**USER, "email": "a b@example.com"}, "email"),
    ({**USER, "email": "a" * 255 + "@example.com"}, "email"),
    ({**USER, "admin": True}, "admin"),
    ({**USER, "\ud800": 1}, "?"),
    ({**USER, "metadata": []}, "metadata"),
    ({**USER, "metadata": {"k\x00": 1}}, "metadata"),
    ({**USER, "metadata": {"k": "\udfff"}}, "metadata"),
    ({**USER, "metadata": {"k": 1.5}}, "metadata"),
    ({**USER, "metadata": {"k": 2**53}}, "metadata"),
    ({**USER, "metadata": {"k": [[[[[[1]]]]]]}}, "metadata"),
    ({**USER, "metadata": {"k": "v" * 20_000}}, "metadata"),
]


@pytest.mark.parametrize(("body", "field"), WRONG_USERS, ids=lambda v: v if isinstance(v, str) else repr(v)[:50])
def test_a_user_with_a_wrong_field(api: ApiClient, database_url: str, body: dict, field: str) -> None:
    """422 that names the field; no user is made."""
    before = contents(database_url)
    reply = api.post("/api/users", body)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert contents(database_url) == before


def test_several_wrong_fields_are_all_named(api: ApiClient) -> None:
    """One answer tells everything that is wrong."""
    reply = api.post("/api/users", {"name": 5, "email": "x", "more": 1})
    assert sorted(reply.fields) == ["email", "more", "name"]


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"name": "A", "email": "a@b.c", "name": "B"}', "name"),
        (b'{"name": "A", "email": "a@b.c", "metadata": {"x": 1, "x": 2}}', "x"),
    ],
)
def test_a_duplicate_member_is_named(api: ApiClient, raw: bytes, field: str) -> None:
    """The last of two members does not silently win, at any depth."""
    reply = api.call("POST", "/api/users", raw=raw)
    assert (reply.status, reply.fields) == (422, [field])


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@Example.COM"])
def test_a_taken_email_is_a_conflict(api: ApiClient, email: str) -> None:
    """Whether a user is made with it or given it later; upper and lower case are the same."""
    api.user()
    other = api.user(email="bob@example.com")
    for reply in (
        api.post("/api/users", {"name": "Eve", "email": email}),
        api.call("PUT", f"/api/users/{other['id']}", {"name": "Eve", "email": email}),
    ):
        assert (reply.status, reply.code, reply.fields) == (409, "conflict", ["email"])
    assert api.get(f"/api/users/{other['id']}").json == other


WRONG_AMOUNTS = [0, -1, 1.5, 5.0, "5", True, None, GREATEST_AMOUNT + 1, 10**30, [], {}]


@pytest.mark.parametrize("amount", WRONG_AMOUNTS, ids=repr)
def test_a_wrong_amount(api: ApiClient, database_url: str, accounts: list[int], amount: Any) -> None:
    """Only a whole number from 1 to 2^53-1 is an amount."""
    before = contents(database_url)
    reply = api.transfer(accounts[0], accounts[1], amount)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", ["amount"])
    assert contents(database_url) == before


@pytest.mark.parametrize("account_id", [0, -1, "abc", 10**30, 1.0, True, None], ids=repr)
@pytest.mark.parametrize("field", ["from_account_id", "to_account_id"])
def test_a_wrong_account_id(api: ApiClient, database_url: str, accounts: list[int], field: str, account_id: Any) -> None:
    """An id in a body is a whole number from 1 on."""
    before = contents(database_url)
    body = {"from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 1, field: account_id}
    reply = api.post("/api/transfers", body)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert contents(database_url) == before


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"note": "x"}, "note"),
        ({"reference": ""}, "reference"),
        ({"reference": "r" * 256}, "reference"),
        ({"reference": "a\x00"}, "reference"),
        ({"asset": "usd"}, "asset"),
        ({"asset": "USD/19"}, "asset"),
        ({"if_from_version": -1}, "if_from_version"),
        ({"metadata": 5}, "metadata"),
    ],
    ids=repr,
)
def test_another_wrong_field_of_a_transfer(
    api: ApiClient, database_url: str, accounts: list[int], more: dict, field: str
) -> None:
    """422 that names it; nothing is posted."""
    before = contents(database_url)
    reply = api.transfer(accounts[0], accounts[1], 1, **more)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert contents(database_url) == before


def test_transfers_that_a_rule_refuses(api: ApiClient, application: Any, database_url: str, accounts: list[int]) -> None:
    """Each has its code and names the field; nothing is posted. An account of another ledger is not found."""
    world, funded, yen = accounts
    foreign = ApiClient(application, make_key(database_url, new_ledger())).account(min_balance=None)["id"]
    before = contents(database_url)

    def told(reply: Reply) -> tuple:
        return reply.status, reply.code, reply.fields

    assert told(api.transfer(world, world, 1)) == (422, "same_account", ["to_account_id"])
    assert told(api.transfer(10**15, funded, 1)) == (404, "not_found", ["from_account_id"])
    assert told(api.transfer(world, 10**15, 1)) == (404, "not_found", ["to_account_id"])
    assert told(api.transfer(world, foreign, 1)) == (404, "not_found", ["to_account_id"])
    assert told(api.transfer(foreign, funded, 1)) == (404, "not_found", ["from_account_id"])
    assert told(api.transfer(world, yen, 1)) == (422, "asset_mismatch", ["to_account_id"])
    assert told(api.transfer(world, funded, 1, asset="EUR/2")) == (422, "asset_mismatch", ["asset"])
    assert told(api.transfer(funded, world, 1)) == (422, "insufficient_funds", ["amount"])
    assert told(api.transfer(world, funded, 1, if_from_version=7)) == (412, "version_mismatch", ["if_from_version"])
    assert contents(database_url) == before


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1" + "0" * 30, "01", "1.0", "%00", "٥", "9223372036854775808"])
@pytest.mark.parametrize("kind", ["users", "accounts", "transfers"])
def test_an_id_in_a_path_that_cannot_be_one(api: ApiClient, kind: str, text: str) -> None:
    """There is nothing there."""
    reply = api.get(f"/api/{kind}/{text}")
    assert (reply.status, reply.code) == (404, "not_found")


def test_what_another_ledger_has_is_not_there(
    api: ApiClient, application: Any, database_url: str, accounts: list[int]
) -> None:
    """Users, accounts and transfers of one ledger do not exist for a key of another: not to read, change, list or remove."""
    user = api.user()
    transfer = api.transfer(accounts[0], accounts[1], 5).json
    other = ApiClient(application, make_key(database_url, new_ledger()))
    before = contents(database_url)
    for reply in (
        other.get(f"/api/users/{user['id']}"),
        other.call("PUT", f"/api/users/{user['id']}", USER),
        other.call("DELETE", f"/api/users/{user['id']}"),
        other.get(f"/api/accounts/{accounts[0]}"),
        other.get(f"/api/accounts/{accounts[0]}/balance"),
        other.call("PATCH", f"/api/accounts/{accounts[0]}", {"status": "frozen"}),
        other.get(f"/api/transfers/{transfer['id']}"),
        other.post("/api/accounts", {"asset": "USD/2", "user_id": user["id"]}),
    ):
        assert (reply.status, reply.code) == (404, "not_found")
    for path in ("users", "accounts", "transfers", f"transfers?account_id={accounts[0]}", f"users?email={USER['email']}"):
        assert other.get(f"/api/{path}").json == {"data": [], "next_cursor": None}
    assert contents(database_url) == before


@pytest.mark.parametrize("value", ["", "k" * 256, "with space", "ü", '"open', '""', "tab\t"])
def test_a_wrong_idempotency_key(api: ApiClient, database_url: str, accounts: list[int], value: str) -> None:
    """422 that names the header; nothing is posted."""
    before = contents(database_url)
    body = {"from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 1}
    reply = api.post("/api/transfers", body, Idempotency_Key=value)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", ["Idempotency-Key"])
    assert contents(database_url) == before


@pytest.mark.parametrize("seconds", ["-1", "abc", "1e9", "0", "", "0.0", "NaN", "1,5", "٥"])
def test_a_wrong_request_timeout(api: ApiClient, seconds: str) -> None:
    """422 that names the header."""
    reply = api.get("/api/users", Request_Timeout=seconds)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", ["Request-Timeout"])


@pytest.mark.parametrize("seconds", ["2.5", "30", "999999999"])
def test_a_long_request_timeout_is_clamped(api: ApiClient, seconds: str) -> None:
    """More than the configured maximum is that maximum."""
    assert api.get("/api/users", Request_Timeout=seconds).status == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=", "limit"), ("limit=-1", "limit"),
        ("limit=01", "limit"), ("limit=010", "limit"), ("limit=00", "limit"), ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"), ("cursor=", "cursor"), ("cursor=abc", "cursor"), ("cursor=%C3%BC", "cursor"),
        ("cursor=" + "A" * 32, "cursor"), ("page=2", "page"),
    ],
)
@pytest.mark.parametrize("path", ["users", "accounts", "transfers"])
def test_a_wrong_parameter(api: ApiClient, path: str, query: str, field: str) -> None:
    """422 that names the parameter."""
    reply = api.get(f"/api/{path}?{query}")
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])


@pytest.mark.parametrize("query", ["%ff", "name=%fe", "name=%ed%a0%80", "name=a&%C3", "name=%C3%28", "name=\xff"])
@pytest.mark.parametrize("path", ["/api/transfers/import", "/api/search", "/api/users", "/api/users/1", "/healthz"])
def test_a_query_that_is_no_utf_8(application: Application, key: str, path: str, query: str) -> None:
    """422, and nothing is taken for U+FFFD: two imports would have one name."""
    method = "POST" if path.endswith("import") else "GET"
    body = {"data": b"{}", "content_type": "application/x-ndjson"} if method == "POST" else {}
    answer = Client(application).open(
        path, method=method, environ_overrides={"QUERY_STRING": query}, headers={"Authorization": f"Bearer {key}"}, **body
    )
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert answer.json["detail"] == "The query is not UTF-8."
    assert "errors" not in answer.json


def test_a_query_is_read_as_utf_8(api: ApiClient) -> None:
    """Whether its bytes are encoded or not."""
    made = api.user("Å", "å@example.com")
    encoded = "%C3%A5@example.com"
    client, headers = Client(api.application), {"Authorization": f"Bearer {api.key}"}
    for query in (f"email={encoded}", "email=" + "å@example.com".encode().decode("latin-1")):
        answer = client.get("/api/users", environ_overrides={"QUERY_STRING": query}, headers=headers)
        assert [user["id"] for user in answer.json["data"]] == [made["id"]]


def test_a_parameter_where_there_is_none_is_told(api: ApiClient, accounts: list[int]) -> None:
    """A question that a route cannot answer is not answered as if it had not been asked."""
    reply = api.get(f"/api/accounts/{accounts[0]}/balance?at=2026-01-01")
    assert (reply.status, reply.fields) == (422, ["at"])
