"""The hot routes and Flask's own give equal answers to one table of cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service import app as composition
from service.app import Application
from service.config import Config
from tests.client import ApiClient, Reply

POST, GET = "/api/transfers", "/api/users/"
GOOD = {"from_account_id": 1, "to_account_id": 2, "amount": 5}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", POST, {"body": GOOD}),
    ("POST", POST, {"body": {**GOOD, "reference": "r", "metadata": {"ü": [1, None]}}, "Idempotency_Key": "k1"}),
    ("POST", POST, {"body": {**GOOD, "reference": "r", "metadata": {"ü": [1, None]}}, "Idempotency_Key": '"k1"'}),
    ("POST", POST, {"body": GOOD, "Idempotency_Key": "k1"}),
    ("POST", POST, {"body": GOOD, "Idempotency_Key": ""}),
    ("POST", POST, {"body": {**GOOD, "amount": 0}}),
    ("POST", POST, {"body": {**GOOD, "amount": "5", "more": 1}}),
    ("POST", POST, {"body": {**GOOD, "from_account_id": 2, "to_account_id": 1, "amount": 10**6}}),
    ("POST", POST, {"body": {**GOOD, "to_account_id": 77}}),
    ("POST", POST, {"body": {**GOOD, "to_account_id": 1}}),
    ("POST", POST, {"raw": b""}),
    ("POST", POST, {"raw": b"[1]"}),
    ("POST", POST, {"raw": b'{"amount": 1, "amount": 2}'}),
    ("POST", POST, {"raw": b"x" * (2 << 20)}),
    ("POST", POST, {"body": GOOD, "Content_Type": "text/plain"}),
    ("POST", POST, {"body": GOOD, "Authorization": "Bearer nonsense"}),
    ("POST", POST, {"body": GOOD, "Request_Timeout": "soon"}),
    ("POST", POST, {"body": GOOD, "Host": "a..b"}),
    ("POST", POST, {"body": {**GOOD, "hold": True, "expires_in_s": 600}}),
    ("POST", POST, {"body": {**GOOD, "expires_in_s": 600}}),
    ("POST", POST + "?dry_run=true", {"body": GOOD}),
    ("POST", POST + "?dry_run=perhaps", {"body": GOOD}),
    ("POST", POST + "?a=1", {"body": GOOD}),
    ("POST", POST + "/", {"body": GOOD}),
    ("GET", GET + "1", {}),
    ("GET", GET + "1?a=1", {}),
    ("GET", GET + "1", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b"}),
    ("GET", GET + "1", {"traceparent": "nonsense", "X_Request_ID": "mine"}),
    ("GET", GET + "1", {"Request_Timeout": "soon"}),
    ("GET", GET + "1", {"Request_Timeout": "2"}),
    ("GET", GET + "1", {"Origin": "https://example.com"}),
    ("GET", GET + "1", {"X_Forwarded_For": "192.0.2.1"}),
    *(("GET", GET + "1", {"Host": host}) for host in ("a..b", "..a", "a" * 64, "a.b.", "a_b", "[::1]:80", "x" * 63 + ":8080")),
    ("GET", "/healthz", {"Host": "a..b"}),
    ("GET", "/metrics", {"Host": "a..b"}),
    ("GET", GET + "1", {"Authorization": "Bearer nonsense"}),
    ("GET", GET + "1", {"Authorization": "Basic nonsense"}),
    ("GET", GET + "1", {"If_None_Match": '"1"'}),
    ("GET", GET + "1", {"If_None_Match": '"2", W/"1"'}),
    ("GET", GET + "1", {"If_None_Match": '"2"'}),
    ("GET", GET + "1", {"If_None_Match": "*"}),
    ("GET", GET + "1", {"If_None_Match": "1"}),
    ("GET", GET + "1", {"If_None_Match": '"1"', "Cache_Control": "no-cache"}),
    ("GET", GET + "1", {"Cache_Control": "max-age=0, No-Cache"}),
    ("GET", GET + "1", {"Cache_Control": "no-store"}),
    ("GET", GET + "1", {"Ledger_Position": "POSITION"}),
    ("GET", GET + "1", {"Ledger_Position": "POSITION", "If_None_Match": '"1"'}),
    ("GET", GET + "1", {"Ledger_Position": "none of ours"}),
    ("GET", GET + "99", {}),
    ("GET", GET + "99", {"If_None_Match": "*"}),
    ("GET", GET + "99", {"Cache_Control": "no-cache"}),
    ("GET", GET + "0", {}),
    ("GET", GET + "01", {}),
    ("GET", GET + "abc", {}),
    ("GET", GET + "9" * 30, {}),
    ("GET", GET + "%C3%BC", {}),
    ("GET", GET, {}),
    ("HEAD", GET + "1", {}),
    ("HEAD", GET + "1", {"If_None_Match": '"1"'}),
    ("OPTIONS", GET + "1", {}),
    ("PATCH", GET + "1", {"body": {}}),
]


@pytest.fixture
def twins(config: Config, key: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ApiClient, ApiClient]]:
    """The application as it is, and one in which Flask answers everything, on one database."""
    hot = Application(config).open()
    monkeypatch.setattr(composition, "hot_routes", lambda app, _routes: app)
    plain = Application(config).open()
    monkeypatch.setattr(plain, "at_once", lambda *_: None)
    yield ApiClient(hot, key), ApiClient(plain, key)
    assert hot.close(10) == plain.close(10) == []


def comparable(reply: Reply) -> tuple[int, Any, dict[str, str]]:
    """An answer without what differs from one call to the next."""
    body = json.loads(reply.body) if reply.body else None
    of_rows = ("from_version", "to_version", "from_balance", "to_balance", "from_held", "created_at", "expires_at")
    for passing in ("id", "request_id", *of_rows):
        if isinstance(body, dict) and reply.status < 500 and passing in body:
            body[passing] = type(body[passing]).__name__
    skip = ("X-Request-ID", "traceparent", "Content-Length", "Location", "Ledger-Position")
    return reply.status, body, {name: value for name, value in reply.headers.items() if name not in skip}


def test_hot_and_plain_answers_are_equal(twins: tuple[ApiClient, ApiClient]) -> None:
    """Status, body and headers, for good and bad requests; a key is told apart for each of the two."""
    hot, plain = twins
    position = hot.post("/api/users", {"name": "Ada", "email": "ada@example.com"}).headers["Ledger-Position"]
    hot.account(min_balance=None)
    hot.account()
    for method, path, options in (case for case in CASES for _ in range(2 if case[0] == "GET" else 1)):  # then it is kept
        replies = []
        for name, client in (("hot", hot), ("plain", plain)):
            given = dict(options)
            body = given.pop("body", None)
            if given.get("Idempotency_Key"):
                given["Idempotency_Key"] = given["Idempotency_Key"].replace("k1", f"{name}-k1")
            if given.get("Ledger_Position") == "POSITION":
                given["Ledger_Position"] = position
            replies.append(comparable(client.call(method, path, body, **given)))
        assert replies[0] == replies[1], f"{method} {path} {options}"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", GET + "1"), ("POST", POST), ("GET", "/api/users"), ("GET", "/healthz"), ("GET", "/metrics")]
)
def test_a_host_that_cannot_be_is_refused_in_our_words(api: ApiClient, method: str, path: str) -> None:
    """Everywhere, be the user kept or not, and before the key is looked at."""
    kept = f"{GET}{api.user()['id']}"
    assert api.get(kept).status == 200
    path = kept if path == GET + "1" else path
    for host in ("a..b", "..a", "a" * 64):
        reply = api.call(method, path, GOOD if method == "POST" else None, Host=host)
        assert (reply.status, reply.code) == (400, "malformed_request")
        assert reply.json["detail"].startswith("The Host header names no host")
