"""Plain requests: what nearly every client sends, told apart from everything else.

A request is plain when its head has arrived in one piece, a proven parser (llhttp, by httptools) takes it, and nothing in it
asks for more than a method, a path and a body of known length: HTTP/1.1, a path as its target, one Host, at most one
Content-Length, no Transfer-Encoding, Expect, Upgrade or trailers. Everything else is not refused but left to gunicorn's own
parser and loop, so nothing unusual is handled by new code, and nothing is taken that gunicorn would not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gunicorn.util import unquote_to_wsgi_str
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

MOST_HEAD = 8190  # bytes; all of gunicorn's own limits on single parts are above it or checked here
MOST_LINE = 4094
MOST_FIELDS = 100
MOST_BODY = 64 * 1024  # bytes that are received before the application is called; a larger body is streamed to it
MOST_NAMES = 512  # names of fields that are remembered

_NOT_PLAIN = frozenset({"TRANSFER-ENCODING", "EXPECT", "UPGRADE", "TRAILER", "TE", "HTTP2-SETTINGS"})
_ONCE = frozenset({"HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_CONNECTION", "HTTP_IDEMPOTENCY_KEY"})
_keys: dict[bytes, str] = {}


class Plain:
    """A plain request: its WSGI environment but for `wsgi.input`, how long its body is, whether it is the client's last."""

    __slots__ = ("environ", "last", "length")

    def __init__(self, environ: dict[str, Any], length: int, last: bool) -> None:
        self.environ = environ
        self.length = length
        self.last = last


class _Parts:
    """What the parser calls."""

    __slots__ = ("fields", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def read_head(head: bytes, base: Mapping[str, Any], schemes: Mapping[str, str]) -> Plain | None:
    """The request whose `head` this is, up to and with its empty line; None where it is not plain.

    `base` is what the environments of a connection have in common. `schemes` are the fields, by their key in the environment,
    by which a trusted proxy tells that it was asked by https, each with the value that says so.
    """
    parts = _Parts()
    parser = HttpRequestParser(parts)
    try:
        parser.feed_data(head)
    except (HttpParserError, HttpParserUpgrade):
        return None
    method, target = parser.get_method(), parts.target
    line_end = len(method) + len(target) + 12
    if not (
        len(head) <= MOST_HEAD
        and line_end - 2 <= MOST_LINE
        and len(parts.fields) <= MOST_FIELDS
        and target.startswith(b"/")
        and head[:line_end] == b"%b %b HTTP/1.1\r\n" % (method, target)  # the parser takes two spaces for one
    ):
        return None
    environ = _environ(parts.fields, base, schemes)
    if environ is None or not _add_target(environ, method, target):
        return None
    length = environ.get("CONTENT_LENGTH", "0")
    connection = environ.get("HTTP_CONNECTION", "keep-alive").lower()
    if not environ.get("HTTP_HOST") or not length.isdecimal() or len(length) > 5 or int(length) > MOST_BODY:
        return None
    if connection not in ("keep-alive", "close"):
        return None
    return Plain(environ, int(length), connection == "close")


def _environ(
    fields: list[tuple[bytes, bytes]], base: Mapping[str, Any], schemes: Mapping[str, str]
) -> dict[str, Any] | None:
    environ = dict(base)
    scheme = None
    for name, value in fields:
        key = _keys.get(name)
        if key is None:
            key = _key(name)
        if not key:
            return None
        text = value.strip(b" \t").decode("latin-1")
        if key in schemes:
            if scheme is not None:
                return None
            scheme = environ["wsgi.url_scheme"] = "https" if text == schemes[key] else "http"
        if key not in environ:
            environ[key] = text
        elif key in _ONCE:
            return None
        else:
            environ[key] += "," + text
    return environ


def _add_target(environ: dict[str, Any], method: bytes, target: bytes) -> bool:
    """Add method and target; False for a target that gunicorn is to take apart."""
    uri = target.decode("ascii")
    if uri.startswith("//") or "#" in uri:
        return False
    path, _, query = uri.partition("?")
    environ["REQUEST_METHOD"] = method.decode("ascii")
    environ["RAW_URI"] = uri
    environ["PATH_INFO"] = unquote_to_wsgi_str(path) if "%" in path else path
    environ["QUERY_STRING"] = query
    return True


def _key(name: bytes) -> str:
    """The key of a field in the environment (PEP 3333), nothing for one that is not plain; remembered for the next time.

    A name with an underscore would get the key of another field, so gunicorn is to decide about it.
    """
    text = name.decode("ascii").upper()
    key = "" if text in _NOT_PLAIN or "_" in text else text.replace("-", "_")
    if key and key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    if len(_keys) < MOST_NAMES:
        _keys[name] = key
    return key
