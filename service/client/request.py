"""What is asked and what is answered, apart from how it goes over the wire; and which requests may be sent twice."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service import __version__
from service.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Internal,
    InvalidInput,
    LedgerdError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Unauthenticated,
    UnsupportedMediaType,
    VersionMismatch,
    taxonomy,
)

KEYED = "/api/transfers"  # POST to it or below takes an Idempotency-Key
SAFE = ("GET", "HEAD")
_KEY = re.compile(r"[ !#-~]{1,255}")
_BY_STATUS: dict[int, type[LedgerdError]] = {  # for an answer that no ledgerd gave, or one with a code of a later version
    400: MalformedRequest, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 409: Conflict,
    412: VersionMismatch, 413: PayloadTooLarge, 415: UnsupportedMediaType, 422: InvalidInput, 429: RateLimited,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no error; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, None where there is none."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Request:
    """One request, however often it is sent: each time with the same key and under the same request id.

    `repeatable`: to do it twice is as good as once, so it may be sent again when nobody knows what became of it.
    """

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # the API key is among them
    key: str | None = None
    repeatable: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing."""
        return self.method in SAFE


def make_request(
    method: str, path: str, body: Any, headers: Mapping[str, str], *, api_key: str | None, key: str | None,
    repeatable: bool | None,
) -> Request:
    """The request with all that belongs to it, an idempotency key where the route takes one.

    Unless `repeatable` says otherwise, that is what is safe, what has a key, and a PUT or DELETE that expects no version: one
    that does would be refused the second time because it has succeeded the first. Raises ValueError for a path or a key that
    cannot be sent.
    """
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError(f"expected a path that begins with / and is encoded as a URL is, not {path!r}")
    fixed = {"x-request-id": secrets.token_hex(12), "user-agent": f"ledgerd-client/{__version__}"}
    fixed |= {name.lower(): value for name, value in headers.items()}
    if api_key is not None:
        fixed.setdefault("authorization", f"Bearer {api_key}")
    data = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    if data is not None:
        fixed.setdefault("content-type", "application/json")
    if takes_key(method, path):
        key = key or new_key()
        if not _KEY.fullmatch(key):
            raise ValueError("an idempotency key is 1 to 255 printable ASCII characters without double quotes")
        fixed["idempotency-key"] = f'"{key}"'
    elif key is not None:
        raise ValueError(f"{method} {path.partition('?')[0]} takes no idempotency key")
    if repeatable is None:
        repeatable = method in SAFE or key is not None or (method in ("PUT", "DELETE") and "if-match" not in fixed)
    return Request(method, path, data, fixed, key, repeatable)


def takes_key(method: str, path: str) -> bool:
    """Whether such a request has an idempotency key."""
    place = path.partition("?")[0]
    return method == "POST" and (place == KEYED or place.startswith(f"{KEYED}/"))


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return secrets.token_urlsafe(18)


def error_of(reply: Reply) -> LedgerdError | None:
    """The error that an answer tells, of the taxonomy; None for a success, 304 among them."""
    if 200 <= reply.status < 300 or reply.status == 304:
        return None
    told = _problem(reply)
    kind = taxonomy().get(str(told.get("code")))
    if kind is None:
        kind = _BY_STATUS.get(reply.status, Internal)
    error = kind(str(told.get("detail") or f"The server answered {reply.status}."))
    error.retry_after_s = _whole(reply.headers.get("retry-after", ""))
    problems = told.get("errors")
    error.fields = tuple(
        FieldError(str(each.get("field")), str(each.get("message")))
        for each in (problems if isinstance(problems, list) else ()) if isinstance(each, dict)
    )
    return error


def is_of_ledgerd(reply: Reply) -> bool:
    """Whether ledgerd itself has answered, as far as that can be told of an error: a proxy has another form for it."""
    return "code" in _problem(reply)


def _problem(reply: Reply) -> dict[str, Any]:
    if not reply.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    try:
        told = reply.json
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
