"""Errors at the edge: the one table from code to HTTP status, and the `application/problem+json` answer (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from service.errors import Internal, LedgerdError, MethodNotAllowed, Unauthenticated
from service.middleware.environ import REQUEST_ID

CLIENT_CLOSED_REQUEST = 499  # no client sees it; the log does
STATUS = {
    "malformed_request": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "version_mismatch": 412,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_input": 422,
    "insufficient_funds": 422,
    "asset_mismatch": 422,
    "account_closed": 422,
    "account_frozen": 422,
    "same_account": 422,
    "limit_exceeded": 422,
    "not_a_hold": 422,
    "hold_resolved": 422,
    "not_reversible": 422,
    "already_reversed": 422,
    "idempotency_key_reused": 422,
    "rate_limited": 429,
    "client_closed_request": CLIENT_CLOSED_REQUEST,
    "internal": 500,
    "overloaded": 503,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "outcome_unknown": 504,
}


def problem(environ: WSGIEnvironment, start_response: StartResponse, error: Exception) -> Iterable[bytes]:
    """Answer with `error`. What is not of the taxonomy is told as `internal`, without a word about it."""
    if not isinstance(error, LedgerdError):
        error = Internal("Something went wrong here; the log has it under this id.")
    content = describe(error, environ.get(REQUEST_ID))
    body = json.dumps(content).encode()
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    if error.retry_after_s is not None:
        headers.append(("Retry-After", str(error.retry_after_s)))
    if isinstance(error, Unauthenticated):
        headers.append(("WWW-Authenticate", 'Bearer realm="ledgerd"'))
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ", ".join(error.allowed)))
    start_response(f"{content['status']} {content['title']}", headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def describe(error: LedgerdError, request_id: str | None) -> dict[str, Any]:
    """The JSON of an error."""
    status = STATUS[error.code]
    content: dict[str, Any] = {
        "type": f"urn:ledgerd:error:{error.code}",
        "title": "Client Closed Request" if status == CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    if error.fields:
        content["errors"] = [{"field": f.field, "message": f.message} for f in error.fields]
    return content
