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


def read(known: Heads, head: bytes) -> Plain | None:
    """As the loop does."""
    return known.read(head, BASE, known.take_apart(head))


@pytest.mark.parametrize("head", HEADS)
def test_the_same_as_the_parser_says(head: bytes) -> None:
    """The first time and the next, with another first line in between, and without a trace of the one before."""
    known, wanted = Heads(SCHEMES), told(read_head(head, BASE, SCHEMES))
    for _ in range(2):
        assert told(read(known, head)) == wanted
        end = head.find(b"\r\n")
        for line in (b"GET /other", b"POST /", b"DELETE /a/../b", b"GET //a", b"GET /%41", b"HEAD /a"):
            other = line + b" HTTP/1.1" + head[end:]
            assert told(read(known, other)) == told(read_head(other, BASE, SCHEMES))


def test_nothing_is_shared_between_requests() -> None:
    """An application may change its environment."""
    known, head = Heads(SCHEMES), b"GET /a HTTP/1.1\r\n" + FIELDS % 1
    for _ in range(3):
        plain = read(known, head)
        assert plain is not None
        assert (plain.environ["HTTP_X_REQUEST_ID"], plain.environ["wsgi.url_scheme"]) == ("1", "https")
        plain.environ.update(HTTP_X_REQUEST_ID="2", PATH_INFO="/b")


def test_facts_are_of_the_same_fields_whatever_is_asked() -> None:
    """They stay where an application leaves them, and are of these fields alone."""
    known = Heads({})
    first = known.take_apart(b"GET /a HTTP/1.1\r\n" + FIELDS % 1)
    assert first is not None
    assert first[:2] == ("GET", "/a")
    first[2].facts["found"] = "out"
    again, other = (known.take_apart(b"POST /b HTTP/1.1\r\n" + FIELDS % number) for number in (1, 2))
    assert again is not None
    assert other is not None
    assert (again[2].facts, other[2].facts) == ({"found": "out"}, {})


def test_what_is_remembered_is_bounded() -> None:
    """In number, and in the length of each."""
    known = Heads({})
    for number in range(3 * heads.MOST_KNOWN):
        assert read(known, b"GET / HTTP/1.1\r\n" + FIELDS % number) is not None
        assert len(known._known) <= heads.MOST_KNOWN
    long = Heads({})
    assert read(long, b"GET / HTTP/1.1\r\nCookie: " + b"x" * heads.MOST_FIELDS + b"\r\n" + FIELDS % 1) is not None
    assert not long._known
