"""What holds the answers of all tests against the document can say no."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.api.answers import UserAnswer
from service.api.openapi_errors import EXAMPLE_ID
from service.api.problem import describe
from service.errors import taxonomy
from tests.contract.document import contract
from tests.reply import Reply

ANY = {"X-Request-ID": EXAMPLE_ID, "traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
HEADERS = ANY | {"Content-Type": "application/json", "ETag": '"1"'}
USER = UserAnswer.example


def told(code: str, **headers: str) -> Reply:
    """An error as ledgerd answers it."""
    content = describe(taxonomy()[code]("A sentence."), EXAMPLE_ID)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    types = {"Content-Type": "application/problem+json"}
    return Reply(content["status"], ANY | types | named, json.dumps(content).encode())


def user(body: Any = USER, status: int = 200, **headers: str) -> Reply:
    """A user as ledgerd answers it; headers that are empty are left out."""
    named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {name: value for name, value in named.items() if value}, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("method", "path", "reply"),
    [
        ("GET", "/api/users/1?a=1", user()),
        ("HEAD", "/api/users/1", Reply(200, HEADERS, b"")),
        ("GET", "/api/users/1", told("not_found")),
        ("GET", "/api/users/1", told("unavailable", Retry_After="1")),
        ("GET", "/nothing", told("not_found")),
        ("GET", "/nothing", told("unauthenticated")),
        ("POST", "/api/users/1", told("method_not_allowed", Allow="DELETE, GET, HEAD, PUT")),
    ],
)
def test_a_documented_answer_passes(method: str, path: str, reply: Reply) -> None:
    """A success, an error of the route, an error of the whole."""
    contract().check(method, path, reply)


@pytest.mark.parametrize(
    ("method", "path", "reply"),
    [
        ("GET", "/api/users/1", user(status=206)),
        ("GET", "/api/users/1", user({**USER, "secret": 1})),
        ("GET", "/api/users/1", user({**USER, "id": 1.5})),
        ("GET", "/api/users/1", user({**USER, "created_at": "2026-13-01T00:00:00Z"})),
        ("GET", "/api/users/1", user({name: value for name, value in USER.items() if name != "email"})),
        ("GET", "/api/users/1", user(ETag="")),
        ("GET", "/api/users/1", user(ETag="1")),
        ("GET", "/api/users/1", user(X_Powered_By="Python")),
        ("GET", "/api/users/1", user(Content_Type="text/html")),
        ("HEAD", "/api/users/1", user()),
        ("DELETE", "/api/users/1", user(status=204, ETag="", Content_Type="")),
        ("GET", "/api/users/1", told("conflict")),
        ("GET", "/api/users/1", told("account_frozen")),
        ("GET", "/api/users/1", told("outcome_unknown")),
        ("GET", "/api/users/1", told("unavailable")),
        ("GET", "/api/users/1", told("unavailable", Retry_After="-1")),
        ("GET", "/healthz", told("unauthenticated", WWW_Authenticate='Bearer realm="ledgerd"')),
        ("GET", "/nothing", user()),
        ("GET", "/nothing", told("internal")),
        ("POST", "/api/users/1", told("method_not_allowed", Allow="DELETE, GET")),
    ],
)
def test_an_answer_outside_the_document_fails(method: str, path: str, reply: Reply) -> None:
    """Whichever part of it: status, code, header, type, member or value."""
    with pytest.raises(AssertionError):
        contract().check(method, path, reply)
