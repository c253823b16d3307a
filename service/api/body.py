"""Reading a JSON body strictly: one object, no member twice, no NaN, no text that UTF-8 or PostgreSQL cannot hold."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.types import WSGIEnvironment

from service.errors import FieldError, InvalidInput, LedgerdError, MalformedRequest, UnsupportedMediaType

log = logging.getLogger(__name__)

DEEPEST = 100
MOST_SHOWN = 100  # characters of a name that is told back
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)  # one that never ends as well: so no quote is tried twice
_BRACKETS = re.compile(rb"[][{}]")


def read_object(environ: WSGIEnvironment) -> dict[str, Any]:
    """The JSON object in the request's body.

    Raises UnsupportedMediaType, MalformedRequest for what is not one JSON object, InvalidInput for a member given twice.
    """
    raw = read_raw(environ)
    _check_depth(raw)
    try:
        value = _from_json(raw.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc, "body") from exc
    if not isinstance(value, dict):
        raise MalformedRequest("The body is not a JSON object.")
    return value


def read_raw(environ: WSGIEnvironment) -> bytes:
    """The bytes of the request's body, which says that it is JSON. Raises as `read_object`."""
    media_type = environ.get("CONTENT_TYPE", "")
    if media_type != "application/json" and media_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("Send JSON, and say so: `Content-Type: application/json`.")
    length = environ.get("CONTENT_LENGTH")
    with telling_of_chunks():
        raw: bytes = environ["wsgi.input"].read(int(length)) if length else _read_chunks(environ)
    if length and len(raw) < int(length):
        raise MalformedRequest("The body ends before its Content-Length: it was cut off.")
    if not raw or raw.isspace():
        raise MalformedRequest("The body is empty; expected a JSON object.")
    return raw


@contextmanager
def telling_of_chunks() -> Iterator[None]:
    """Raise MalformedRequest where a server tells chunks that are none by an error of its own."""
    try:
        yield
    except LedgerdError:
        raise
    except Exception as exc:  # of which class is the server's business
        log.info("a body cannot be read: %r", exc)
        raise MalformedRequest("The body cannot be read: its chunks are malformed, or it was cut off.") from exc


@contextmanager
def telling_what_is_wrong(what: str = "body") -> Iterator[None]:
    """Raise MalformedRequest for what is no UTF-8, or no JSON."""
    try:
        yield
    except (ValueError, RecursionError) as exc:
        raise _malformed(exc, what) from exc


def _malformed(error: ValueError | RecursionError, what: str) -> MalformedRequest:
    if isinstance(error, UnicodeDecodeError):
        return MalformedRequest(f"The {what} is not UTF-8: byte {error.start}.")
    if isinstance(error, RecursionError):
        return MalformedRequest(f"The {what} is nested more than {DEEPEST} levels deep.")
    return MalformedRequest(f"The {what} is not JSON: {_reason(error)}.")


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return str(error) if isinstance(error, _NoNumber) else "a number in it has too many digits"  # more than int() takes


def _read_chunks(environ: WSGIEnvironment) -> bytes:
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    data: bytes = environ["wsgi.input"].read()
    return data


def _check_depth(raw: bytes) -> None:
    """Raise MalformedRequest for too many brackets within brackets: how many json itself can take differs by its version."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise MalformedRequest(f"The body is nested more than {DEEPEST} levels deep.")


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these members. Raises InvalidInput for one that is given twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        name = twice[:MOST_SHOWN].encode("utf-8", "replace").decode()
        raise InvalidInput(f"The member {name!r} is given more than once.", fields=(FieldError(name, "given more than once"),))
    return value


class _NoNumber(ValueError):
    """What Python writes for a number that is none."""


def _refuse_constant(name: str) -> Any:
    raise _NoNumber(f"{name} is no JSON number")


STRICT = json.JSONDecoder(object_pairs_hook=distinct, parse_constant=_refuse_constant)  # json.loads would make one a call
_from_json = STRICT.decode
