"""What every handler does with a call: ids, versions and pages out of it, and a JSON answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson

from service.api.cursors import Cursors
from service.concurrency.context import Context
from service.errors import FieldError, InvalidInput, NotFound
from service.ledger.money import GREATEST_ID
from service.ledger.principal import Principal
from service.middleware.environ import CONTEXT, PRINCIPAL, TRACE
from service.middleware.tracing import Trace

DEFAULT_LIMIT = 50
GREATEST_LIMIT = 100
MOST_PARAMETERS = 32
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
Row = TypeVar("Row")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps would make an encoder a call


class Call:
    """A request that may be answered: until when, for which ledger, and what else the handler reads."""

    __slots__ = ("environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.environ = environ

    @property
    def ctx(self) -> Context:
        """Ends when the request's time is up, or when the client leaves."""
        ctx: Context = self.environ[CONTEXT]
        return ctx

    @property
    def principal(self) -> Principal:
        """Who sends it; only where the route takes a scope."""
        principal: Principal = self.environ[PRINCIPAL]
        return principal

    @property
    def ledger_id(self) -> int:
        """The ledger of the key."""
        return self.principal.ledger_id

    @property
    def trace_parent(self) -> str | None:
        """The W3C traceparent for what this request causes, where it is traced."""
        trace: Trace | None = self.environ.get(TRACE)
        return trace.header if trace is not None and trace.sampled else None


def path_id(kind: str, text: str) -> int:
    """An id out of a path. Raises NotFound for what cannot be one."""
    number = read_id(text)
    if number is None:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise NotFound(f"No {kind} {shown!r}: ids are whole numbers from 1 on.")
    return number


def read_id(text: str) -> int | None:
    """The id that `text` is, None for what cannot be one."""
    if text.isascii() and text.isdecimal() and len(text) <= 19 and text[0] != "0" and (number := int(text)) <= GREATEST_ID:
        return number
    return None


def to_json(content: Mapping[str, Any]) -> bytes:
    """As every answer has it. Whole numbers of more than 64 bits are beyond orjson, and no answer needs to have one."""
    try:
        return orjson.dumps(content)
    except orjson.JSONEncodeError:
        return _encode(content).encode()


def as_lines(headers: Iterable[tuple[str, str]]) -> str:
    """Headers as they are sent."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


class Answer:
    """A JSON answer, for Flask or for WSGI; header names are given with underscores. Bytes are JSON already."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, content: Mapping[str, Any] | bytes | None, status: int = 200, **headers: str) -> None:
        self.status = status
        self.headers = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.body: bytes | Iterable[bytes] = b""
        if content is not None:
            body = self.body = content if isinstance(content, bytes) else to_json(content)
            self.headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]

    def without_length(self) -> Answer:
        """Itself, as the answer to HEAD of what is streamed: GET tells no length, so neither does this (RFC 9110, 8.6)."""
        self.body = iter(())  # of bytes or a list the length would be told
        return self

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application does."""
        start_response(STATUS_LINES[self.status], self.headers)
        return [self.body] if isinstance(self.body, bytes) else self.body


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list a call asks for; `position` is where the page before ended."""

    limit: int
    position: int | None
    scope: str

    def answer(
        self, ctx: Context, cursors: Cursors, rows: Sequence[Row], show: Callable[[Row], Any], position: Callable[[Row], int]
    ) -> Answer:
        """The page; `rows` has one more than `limit` when the list goes on."""
        shown = rows[: self.limit]
        next_cursor = cursors.issue(ctx, self.scope, position(shown[-1])) if len(rows) > self.limit else None
        return Answer({"data": [show(row) for row in shown], "next_cursor": next_cursor})


def page(call: Call, cursors: Cursors, name: str, *filters: str) -> tuple[Page, dict[str, str]]:
    """The page and the values of `filters` out of the query. Raises InvalidInput for a wrong or unknown parameter."""
    values = parameters(call, "limit", "cursor", *filters)
    limit, cursor = read_limit(values), values.pop("cursor", None)
    scope = json.dumps([name, call.ledger_id, sorted(values.items())])
    position = None if cursor is None else cursors.position(call.ctx, scope, cursor)
    return Page(limit, position, scope), values


def read_limit(values: dict[str, str]) -> int:
    """Takes `limit` out of `values`. Raises InvalidInput for what is no number of its range."""
    limit = values.pop("limit", str(DEFAULT_LIMIT))
    number = read_id(limit)  # which has the same form
    if number is not None and number <= GREATEST_LIMIT:
        return number
    message = f"expected a whole number from 1 to {GREATEST_LIMIT}"
    raise InvalidInput(f"limit: {message}.", fields=(FieldError("limit", message),))


def read_query(environ: WSGIEnvironment) -> dict[str, list[str]]:
    """The parameters of the query. Raises InvalidInput for more than any route takes, before they cost anything, and for what
    is not UTF-8.
    """
    query: str = environ.get("QUERY_STRING", "")
    if query.count("&") >= MOST_PARAMETERS:
        raise InvalidInput(f"The query has more than {MOST_PARAMETERS} parameters.")
    try:
        raw = query.encode("latin-1").decode()  # bytes that were not encoded with %, as WSGI has them
        return parse_qs(raw, keep_blank_values=True, errors="strict")
    except UnicodeError:  # with U+FFFD in its place, two values would be one
        raise InvalidInput("The query is not UTF-8.") from None


def parameters(call: Call, *names: str, several: Collection[str] = ()) -> dict[str, str]:
    """The parameters of the query, each given once; those of `several` may be given again, and are joined by commas.

    Raises InvalidInput for others than `names`.
    """
    given = read_query(call.environ)
    problems = [FieldError(key, "there is no such parameter here") for key in sorted(given.keys() - {*names})]
    twice = [key for key, values in given.items() if len(values) > 1 and key not in several]
    problems += [FieldError(key, "given more than once") for key in twice]
    problems += [FieldError(key, "nothing has a NUL character") for key in names if "\x00" in "".join(given.get(key, ()))]
    if problems:
        raise InvalidInput("Some parameters are not acceptable.", fields=tuple(problems))
    return {key: ",".join(values) for key, values in given.items()}
