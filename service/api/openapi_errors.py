"""Which errors a route may answer, and how the OpenAPI document tells them: from the taxonomy and the one status table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from service.api.parameters import ANSWERED, COUNTED
from service.api.problem import STATUS, describe
from service.api.routes import Header, Route
from service.errors import taxonomy

ANY = ("malformed_request", "invalid_input", "rate_limited", "internal")  # no Host, a wrong Request-Timeout, our own fault
WITH_KEY = ("unauthenticated", "forbidden", "unavailable", "deadline_exceeded")  # the key alone may need the database
WITH_BODY = ("payload_too_large", "unsupported_media_type")
WRITING = ("outcome_unknown",)
EXAMPLE_ID = "6f40d12f2a36f853a003eee2"

_RETRY_AFTER = Header("whole seconds to wait", {"type": "integer", "minimum": 0})
_HEADERS = {
    "unauthenticated": {"WWW-Authenticate": Header("how to authenticate", {"const": 'Bearer realm="ledgerd"'})},
    "rate_limited": {"Retry-After": _RETRY_AFTER},
    "overloaded": {"Retry-After": _RETRY_AFTER},
    "unavailable": {"Retry-After": _RETRY_AFTER},
}


def codes_of(route: Route) -> list[str]:
    """The codes that `route` may answer, by status."""
    codes = {*ANY, *route.errors}
    if route.scope is not None:
        codes.update(WITH_KEY)
    if route.body is not None:
        codes.update(WITH_BODY)
    if route.scope is not None and route.method != "GET":
        codes.update(WRITING)
    return [code for code in STATUS if code in codes]


def error_responses(route: Route) -> Iterator[tuple[int, str | dict[str, Any]]]:
    """Each status of an error with its response: the name of one in the components where there is but one code."""
    by_status = defaultdict(list)
    for code in codes_of(route):
        by_status[STATUS[code]].append(code)
    for status, codes in by_status.items():
        yield status, codes[0] if len(codes) == 1 else problem_response(*codes)


def problem_response(*codes: str) -> dict[str, Any]:
    """The response of errors that have one status."""
    kinds = {code: taxonomy()[code] for code in codes}
    meanings = {code: " ".join((kind.__doc__ or "").split()) for code, kind in kinds.items()}
    own = _HEADERS.get(codes[0], {})  # the errors of a status have the same
    narrowed = {"status": {"const": STATUS[codes[0]]}, "code": {"enum": list(codes)}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"type": "object", "properties": narrowed}]}
    examples = {code: {"value": describe(kind(meanings[code]), EXAMPLE_ID)} for code, kind in kinds.items()}
    return {
        "description": "\n".join(f"- `{code}`: {meaning}" for code, meaning in meanings.items()),
        "headers": {**{name: name for name in (*ANSWERED, *COUNTED)}, **{name: of.openapi() for name, of in own.items()}},
        "content": {"application/problem+json": {"schema": schema, "examples": examples}},
    }
