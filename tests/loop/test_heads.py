"""A head means the same whether it is new or was seen before."""

from __future__ import annotations

import pytest

from service.server import heads
from service.server.heads import Heads
from service.server.plain import Plain, read_head
from tests.loop.corpus import CASES

BASE = {"REMOTE_ADDR": "192.0.2.1", "wsgi.url_scheme": "http"}
SCHEMES = {"HTTP_X_FORWARDED_PROTO": "https"}
HEADS = sorted({request[: request.find(b"\r\n\r\n") + 4] for request in CASES.values()} - {b""})
FIELDS = b"Host: x\r\nX-Forwarded-Proto: https\r\nX-Request-ID: %d\r\n\r\n"


def told(plain: Plain | None) -> object:
    """What it says, to compare."""
    return None if plain is None else (plain.environ, plain.length, plain.last)


@pytest.mark.parametrize("head", HEADS)
def test_the_same_as_the_parser_says(head: bytes) -> None:
    """The first time and the next, with another first line in between, and without a trace of the one before."""
    known, wanted = Heads(SCHEMES), told(read_head(head, BASE, SCHEMES))
    for _ in range(2):
        assert told(known.read(head, BASE)) == wanted
        end = head.find(b"\r\n")
        for line in (b"GET /other", b"POST /", b"DELETE /a/../b", b"GET //a", b"GET /%41", b"HEAD /a"):
            other = line + b" HTTP/1.1" + head[end:]
            assert told(known.read(other, BASE)) == told(read_head(other, BASE, SCHEMES))


def test_nothing_is_shared_between_requests() -> None:
    """An application may change its environment."""
    known, head = Heads(SCHEMES), b"GET /a HTTP/1.1\r\n" + FIELDS % 1
    for _ in range(3):
        plain = known.read(head, BASE)
        assert plain is not None
        assert (plain.environ["HTTP_X_REQUEST_ID"], plain.environ["wsgi.url_scheme"]) == ("1", "https")
        plain.environ.update(HTTP_X_REQUEST_ID="2", PATH_INFO="/b")


def test_what_is_remembered_is_bounded() -> None:
    """In number, and in the length of each."""
    known = Heads({})
    for number in range(3 * heads.MOST_KNOWN):
        assert known.read(b"GET / HTTP/1.1\r\n" + FIELDS % number, BASE) is not None
        assert len(known._known) <= heads.MOST_KNOWN
    long = Heads({})
    assert long.read(b"GET / HTTP/1.1\r\nCookie: " + b"x" * heads.MOST_FIELDS + b"\r\n" + FIELDS % 1, BASE) is not None
    assert not long._known
