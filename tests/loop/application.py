"""A WSGI application that tells what it was asked, for tests of the loop in front of it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

OMITTED = ("HTTP_", "CONTENT_")  # what of the environment is told: the fields, and these:
TOLD = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI", "SERVER_PROTOCOL", "SCRIPT_NAME", "wsgi.url_scheme")
JSON = ("Content-Type", "application/json")


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
    """Answer by the path: most of them tell the request, some answer in ways that a loop can get wrong."""
    route: Callable[..., Any] = ROUTES.get(environ["PATH_INFO"], tell)
    return route(environ, start)


def tell(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """The request as JSON."""
    told = {key: value for key, value in environ.items() if key.startswith(OMITTED) or key in TOLD}
    told["body"] = environ["wsgi.input"].read().decode("latin-1")
    return _one_piece(start, "200 OK", json.dumps(told, sort_keys=True).encode())


def leave_body(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """The body is not read."""
    return _one_piece(start, "200 OK", b"{}")


def stream(_: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    """In pieces, without a length."""
    start("200 OK", [JSON])
    return iter((b'{"in":', b"", b'"pieces"}'))


def stream_with_length(_: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    """In pieces, with a length."""
    start("200 OK", [JSON, ("Content-Length", "15")])
    return iter((b'{"in":', b'"pieces"}'))


def write(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """By the old way of WSGI."""
    say = start("200 OK", [JSON])
    say(b'{"written":')
    say(b"true}")
    return []


def without_length(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """One piece whose length is not told."""
    start("200 OK", [JSON])
    return [b"{}"]


def too_short(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Less than was promised."""
    start("200 OK", [JSON, ("Content-Length", "9")])
    return [b"{}"]


def too_long(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """More than was promised."""
    start("200 OK", [JSON, ("Content-Length", "2")])
    return [b"{} and more"]


def nothing(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """204, with a length that it must not have."""
    start("204 No Content", [("Content-Length", "0")])
    return []


def not_modified(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """304."""
    start("304 Not Modified", [("ETag", '"1"')])
    return []


def fail(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """An error before the answer."""
    raise RuntimeError("the application fails on purpose")


def leave(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """An exit."""
    raise SystemExit(3)


def fail_midway(_: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    """An error when a part has been sent."""
    start("200 OK", [JSON])
    yield b"{"
    raise RuntimeError("the application fails on purpose, midway")


def fail_and_replace(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """An answer that is replaced before anything is sent."""
    start("200 OK", [JSON])
    try:
        raise RuntimeError("replaced")
    except RuntimeError as error:
        start("503 Service Unavailable", [JSON, ("Content-Length", "2")], (RuntimeError, error, None))
    return [b"{}"]


def bad_header(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """A header that would split the answer."""
    return _one_piece(start, "200 OK", b"{}", ("X-Split", "a\r\nSet-Cookie: evil=1"))


def bad_name(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """A header's name that is none."""
    return _one_piece(start, "200 OK", b"{}", ("X Bad", "1"))


def bad_status(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """A status that is none."""
    return _one_piece(start, "twohundred", b"{}")


def hop_by_hop(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Headers that are the server's business."""
    return _one_piece(start, "200 OK", b"{}", ("Connection", "close"), ("Keep-Alive", "timeout=1"), ("Server", "mine"))


def twice(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """start_response called twice."""
    start("200 OK", [JSON])
    return _one_piece(start, "200 OK", b"{}")


def large(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """16 MiB: more than a socket takes at once."""
    return _one_piece(start, "200 OK", b" " * (16 << 20))


def endless(_: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    """1 GiB in pieces: more than anybody keeps for a client that does not read."""
    start("200 OK", [JSON])
    return (b" " * (1 << 20) for _ in range(1024))


def unbegun(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """A body without a status."""
    return [b"{}"]


_left: list[str] = []


def wait_for_leave(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """As long as the client stays, but not for ever."""
    path, left = environ["SERVER_PROTOCOL"], threading.Event()
    forget = environ["ledgerd.client_left"](left.set)
    _left.append(f"{path} {'left' if left.wait(20) else 'stayed'}")
    forget()
    return _one_piece(start, "200 OK", b"{}")


def read_while_client_stays(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """As the real application does: it asks to be told of a leave, then reads the body."""
    environ["ledgerd.client_left"](lambda: None)
    return tell(environ, start)


def who_left(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """What those before have found."""
    return _one_piece(start, "200 OK", json.dumps(_left).encode())


def process(_: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Who answers."""
    return _one_piece(start, "200 OK", json.dumps({"pid": os.getpid()}).encode())


def _one_piece(start: Callable[..., Any], status: str, body: bytes, *headers: tuple[str, str]) -> list[bytes]:
    start(status, [JSON, ("Content-Length", str(len(body))), *headers])
    return [body]


ROUTES: dict[str, Callable[..., Any]] = {
    "/" + route.__name__.replace("_", "-"): route
    for route in (
        leave_body, stream, stream_with_length, write, without_length, too_short, too_long, nothing, not_modified, fail, leave,
        fail_midway, fail_and_replace, bad_header, bad_name, bad_status, hop_by_hop, twice, large, endless, unbegun,
        wait_for_leave, read_while_client_stays, who_left, process,
    )
}
