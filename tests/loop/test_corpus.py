"""Every request of the corpus gets the same answers, and the same end of its connection, as from gunicorn's own worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.loop.conftest import Server
from tests.loop.corpus import CASES
from tests.loop.exchange import PROBE, Reply, exchange

# Where our answer is another, it is stricter: the statuses of ours, and why. (In pieces such a request is handed on.)
_SHORT = ([200], "less than its Content-Length: the client would take the next answer for the rest, so the connection ends")
_LEAVE = ([500], "an application that exits is answered, instead of being passed over in silence")
_CUT = ([], "half a body: gunicorn calls the application with it, here it has no effect")
_BASE = ([400], "a client cannot say where the application is mounted: that is its fault, not a problem of ours")
_CODING = ([501], "gunicorn takes a coding that nobody decodes: the body would be another than was sent")
STRICTER = {
    "coding: Transfer-Encoding: gzip, chunked": _CODING,
    "coding: Transfer-Encoding: identity, chunked": _CODING,
    "coding: Transfer-Encoding: Deflate\\r\\nTransfer-Encoding: chunked": _CODING,
    "field: SCRIPT_NAME: /x": _BASE,
    "cut off: long before its length": _CUT,
    "answer: GET /too-short": _SHORT,
    "answer: POST /too-short": _SHORT,
    "answer: GET /leave": _LEAVE,
    "answer: HEAD /leave": _LEAVE,
    "answer: POST /leave": _LEAVE,
}


def test_the_corpus_is_large() -> None:
    """Three hundred at least."""
    assert len(CASES) >= 300


def whole(request: bytes) -> list[bytes]:
    """At once, with a probe behind it."""
    return [request + PROBE]


def in_two(request: bytes) -> list[bytes]:
    """Cut in the middle, the probe for itself."""
    return [request[: len(request) // 2], request[len(request) // 2 :], PROBE]


def byte_by_byte(request: bytes) -> list[bytes]:
    """In as many segments as it has bytes, up to a bound."""
    few, rest = request[:300], request[300:]
    return [*(few[n : n + 1] for n in range(len(few))), rest, PROBE]


@pytest.mark.parametrize(
    ("name", "send"),
    [(name, send) for name in CASES for send in (whole, in_two, byte_by_byte) if name not in STRICTER or send is whole],
)
def test_same_as_gunicorns(ours: Server, gunicorns: Server, name: str, send: Callable[[bytes], list[bytes]]) -> None:
    """Status by status, and what the application was told is the same to the letter."""
    mine = exchange(ours.port, send(CASES[name]))
    if name in STRICTER:
        assert [reply.status for reply in mine] == STRICTER[name][0]
    else:
        assert [told(reply) for reply in mine] == [told(reply) for reply in exchange(gunicorns.port, send(CASES[name]))]


def told(reply: Reply) -> Any:
    """What counts of an answer: the text of an error that gunicorn makes up is its own business."""
    if reply.status < 300 and reply.whole and reply.body:
        with suppress(ValueError):
            return reply.status, reply.fields.get("connection"), reply.told
    body = reply.body if 200 <= reply.status < 300 else None
    return reply.status, reply.fields.get("connection"), reply.whole, body
