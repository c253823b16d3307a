"""What Schemathesis must know of ledgerd that no JSON Schema can say. Requests are changed here, judgements are not.

Loaded by the command `schemathesis`, in its own process; nothing else imports it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.core.parameters import ParameterLocation

from tests.contract.seed import KEPT_ACCOUNTS

FORM = {"malformed_request", "invalid_input", "unsupported_media_type", "payload_too_large"}


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Change those parts of the request that are meant to be valid, and what would not come to the application."""
    if case.meta is None:
        return
    _fit_the_line(case.query)
    if not case.meta.is_negative_at(ParameterLocation.QUERY):
        case.query.pop("cursor", None)  # only one that the server has signed is good; tests/api has those
        _put_times_in_order(case.query)
        case.query.pop("after", None)  # only the id of an event that there is; tests/api has those
    if not case.meta.is_negative_at(ParameterLocation.HEADER):
        _give_time(case)
        _quote_the_tag(case)
        for told_before in ("Ledger-Position", "Last-Event-ID"):  # as with cursors
            case.headers.pop(told_before, None)
    if not case.meta.is_negative_at(ParameterLocation.BODY):
        case.body = _as_whole_numbers(case.body)
        if isinstance(case.body, dict):
            for leg in (case.body, *_legs(case.body)):
                _name_accounts_that_exist(leg)
            _let_the_whole_have_one_key(case.body)
            _let_keys_end_later(case.body)
            _let_webhooks_lead_somewhere(case.body)
    if case.operation.label == "GET /api/events" and case.query.get("follow") in (None, "true"):
        case.query["follow"] = "false"  # a stream that has an end; a wrong word stays wrong
    if case.operation.label == "POST /api/transfers/import":
        _begin_with_names(case)
    if case.path_parameters.get("key_id") == os.environ["SPARED_KEY"]:
        case.path_parameters["key_id"] = "0" * 12  # the key in use shall be neither revoked nor rotated
    if case.operation.method.upper() != "GET" and str(case.path_parameters.get("service")).startswith("ledgerd"):
        case.path_parameters["service"] = "mail"  # only ledgerd itself may register under its own name
    if case.operation.label == "PATCH /api/accounts/{account_id}":
        _spare_kept_accounts(case)


@schemathesis.check
def a_valid_request_is_not_refused_for_its_form(ctx: CheckContext, response: Response, case: Case) -> None:
    """By the document it is well formed; so only the ledger's rules and its present state may speak against it."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE or response.status_code < 400:
        return
    code = response.json()["code"]
    assert code not in FORM, f"A valid request is refused as {code}: {response.json()['detail']}"


def _give_time(case: Case) -> None:
    """No time-out so small that 504 is the right answer: it would hide one that is not."""
    if float(case.headers.get("Request-Timeout", 5)) < 5:
        case.headers["Request-Timeout"] = "5"


def _fit_the_line(query: dict[str, Any]) -> None:
    """A request line above 4,094 bytes is answered by the web server itself, before any route (docs/api.md).

    A character is up to twelve of them, and 260 are more than any parameter may have.
    """
    query.update({name: value[:260] for name, value in query.items() if isinstance(value, str | list)})


def _put_times_in_order(query: dict[str, Any]) -> None:
    """`from` is not after `to`, and `at` has passed: what two values are to each other, or to the clock, no schema says."""
    for name, value in (("from", "2001-01-01T00:00:00Z"), ("to", "2200-01-01T00:00:00Z"), ("at", "2001-01-01T00:00:00Z")):
        if name in query:
            query[name] = value


def _quote_the_tag(case: Case) -> None:
    """The coverage phase takes a bare 0 for a valid `If-Match`, though the pattern in the document does not."""
    if case.headers.get("If-Match", "*")[:1] not in ('"', "*"):
        case.headers["If-Match"] = f'"{case.headers["If-Match"]}"'


def _as_whole_numbers(value: Any) -> Any:
    """For JSON Schema 1.0 is an integer, for ledgerd it is a float, which is refused (docs/api.md)."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _as_whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_whole_numbers(inner) for inner in value]
    return value


def _name_accounts_that_exist(body: dict[str, Any]) -> None:
    """Nearly every id up to 2^63 is that of no account."""
    for name in ("from_account_id", "to_account_id"):
        if isinstance(body.get(name), int):
            body[name] = 1 + body[name] % (KEPT_ACCOUNTS + 1)


def _legs(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The transfers in a body of several."""
    legs = body.get("transfers")
    return [leg for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []


def _let_the_whole_have_one_key(body: dict[str, Any]) -> None:
    """What is posted as a whole has no keys in it."""
    if body.get("mode") == "atomic":
        for item in _legs(body):
            item.pop("idempotency_key", None)


def _begin_with_names(case: Case) -> None:
    """Comma-separated values begin with the names of columns; what follows may be anything, and is refused line by line."""
    case.query.pop("format", None)  # the media type says it
    if case.media_type == "text/csv" and isinstance(case.body, str):
        case.body = f"from_account_id,to_account_id,amount\n{case.body}"


def _let_keys_end_later(body: dict[str, Any]) -> None:
    """What has passed is no end for a key, nor is a moment in ten years."""
    if isinstance(body.get("expires_at"), str):
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")


def _let_webhooks_lead_somewhere(body: dict[str, Any]) -> None:
    """To a host that is a name, and after an event that there is: not every text of their form is either."""
    if isinstance(body.get("url"), str):
        body["url"] = "https://receiver.example/" if body["url"].startswith("http") else "service://receiver/"
    if isinstance(body.get("after"), int):
        body["after"] = 0


def _spare_kept_accounts(case: Case) -> None:
    given = str(case.path_parameters.get("account_id"))
    if given.isdecimal() and 1 <= int(given) <= KEPT_ACCOUNTS:
        case.path_parameters["account_id"] = KEPT_ACCOUNTS + int(given)
