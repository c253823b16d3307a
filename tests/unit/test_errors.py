"""The taxonomy and the edge: one table, problem+json, and nothing told of our own faults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.api.problem import STATUS, problem
from service.errors import FieldError, InvalidInput, LedgerdError, MethodNotAllowed, Overloaded, Unauthenticated, taxonomy
from service.ledger.refusals import _MESSAGES, refusal
from service.middleware.environ import REQUEST_ID


def answer(error: Exception, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """What `problem` answers to `error`."""
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        told.update(status=status, headers=dict(headers))

    body = b"".join(problem({REQUEST_ID: "id-1", "REQUEST_METHOD": method}, start, error))
    return told["status"], told["headers"], body


def test_every_code_has_a_status_and_every_status_a_code() -> None:
    """The table and the taxonomy name the same codes."""
    assert set(STATUS) == set(taxonomy())


@pytest.mark.parametrize("code", sorted(taxonomy()))
def test_every_error_is_answered(code: str) -> None:
    """With its status, its code and the request's id."""
    status, headers, body = answer(taxonomy()[code]("A sentence."))
    content = json.loads(body)
    assert int(status[:3]) == content["status"] == STATUS[code]
    assert (content["code"], content["detail"], content["request_id"]) == (code, "A sentence.", "id-1")
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(body)


def test_an_unknown_exception_tells_nothing() -> None:
    """500, without a word of what happened."""
    status, _, body = answer(RuntimeError("the password is hunter2"))
    assert status.startswith("500")
    assert b"hunter2" not in body


def test_errors_bring_their_headers() -> None:
    """When to come back, how to authenticate, what is allowed; and the fields at fault."""
    assert answer(Overloaded("full", retry_after_s=3))[1]["Retry-After"] == "3"
    assert answer(Unauthenticated("who"))[1]["WWW-Authenticate"] == 'Bearer realm="ledgerd"'
    assert answer(MethodNotAllowed("no", allowed=("GET", "PUT")))[1]["Allow"] == "GET, PUT"
    told = json.loads(answer(InvalidInput("no", fields=(FieldError("a", "b"),)))[2])
    assert told["errors"] == [{"field": "a", "message": "b"}]


def test_head_has_no_body() -> None:
    """The length is told, the body not sent."""
    _, headers, body = answer(LedgerdError("x"), "HEAD")
    assert body == b""
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(("code", "field"), sorted(_MESSAGES))
def test_every_refusal_is_an_error_of_the_taxonomy(code: str, field: str) -> None:
    """And names its field."""
    error = refusal(code, field)
    assert (error.code, error.fields[0].field) == (code, field)


def test_a_refusal_among_several_names_the_one() -> None:
    """By its number, from 0 on, in the field and in words."""
    error = refusal("insufficient_funds", "amount", 2)
    assert (error.fields[0].field, error.message[:14]) == ("transfers[2].amount", "transfers[2]: ")
