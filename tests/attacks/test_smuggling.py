"""A request cannot hide another one in itself. The corpus of tests/loop compares such requests with gunicorn's worker; here
each goes to the real server with a second request inside, which would do something, and does not.
"""

from __future__ import annotations

import json

import pytest

from tests.attacks.conftest import KEY, Target, assert_tells_nothing, contents
from tests.loop.corpus import CASES

HIDDEN_BODY = b'{"name": "Smuggled", "email": "smuggled@example.com"}'
HIDDEN = (
    b"POST /api/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % (KEY, len(HIDDEN_BODY))
) + HIDDEN_BODY
POST = b"POST /api/nothing HTTP/1.1\r\nHost: a\r\n"
LENGTH = b"%d" % len(HIDDEN)
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name -> a request with HIDDEN where one of two readings of its length would see it as the next
FRAMES = {
    "both lengths, the chunks end first": POST + b"Content-Length: %b\r\n" % LENGTH + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "both lengths, the other order": POST + CHUNKED + b"Content-Length: 4\r\n\r\n1\r\nx\r\n0\r\n\r\n" + HIDDEN,
    "two lengths, the first shorter": POST + b"Content-Length: 0\r\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "two lengths, the last shorter": POST + b"Content-Length: %b\r\nContent-Length: 0\r\n\r\n" % LENGTH + HIDDEN,
    "two lengths in one field": POST + b"Content-Length: 0, %b\r\n\r\n" % LENGTH + HIDDEN,
    "two lengths that are equal": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "a length in hexadecimal": POST + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "a length of another name": POST + b"Content_Length: 0\r\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "a coding that is none": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a coding with a tab": POST + b"Transfer-Encoding:\tchunked\x0b\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding given twice": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding behind a folded line": POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a coding before a colon with a space": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "HTTP/1.0 with chunks": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN,
    "a bare LF ends the head": POST.replace(b"\r\n", b"\n") + b"\n" + HIDDEN,
    "a bare LF ends a field": POST + b"X: y\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "a bare CR ends a field": POST + b"X: y\rContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "a bare LF ends a chunk's size": POST + CHUNKED + b"\r\n0\n\r\n" + HIDDEN,
    "a chunk's size that overflows": POST + CHUNKED + b"\r\n10000000000000000\r\n" + HIDDEN,
    "a chunk's extension with a line": POST + CHUNKED + b"\r\n0;a\nb\r\n\r\n" + HIDDEN,
    "a chunk longer than its size": POST + CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n" + HIDDEN,
    "absolute form": POST.replace(b"/api/nothing", b"http://b/api/nothing") + b"Content-Length: x\r\n\r\n" + HIDDEN,
    "no Host": b"POST /api/nothing HTTP/1.1\r\nContent-Length: -1\r\n\r\n" + HIDDEN,
    "two Hosts": POST + b"Host: b\r\n\r\n" + HIDDEN,
    "two Hosts, one folded": POST + b"X: y\r\n\tHost: b\r\n\r\n" + HIDDEN,
    "a GET with a body": b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "a HEAD with a body": b"HEAD /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
    "an upgrade": POST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: x\r\n\r\n" + HIDDEN,
    "an expectation": POST + b"Expect: 100-continue\r\nContent-Length: %b\r\n\r\n" % LENGTH + HIDDEN,
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_hidden_request_is_not_answered_as_one_of_its_own(target: Target, name: str) -> None:
    """Either the request is refused and the connection ends, or what is inside is its body: it has no effect."""
    before = contents(target.database_url)
    replies = [reply for reply in target.send(FRAMES[name]) if reply.status != 100]
    assert len(replies) <= 1, [reply.status for reply in replies]
    for reply in replies:
        assert reply.status != 201
        assert reply.status < 500 or reply.status == 501
    assert contents(target.database_url) == before


def test_two_requests_that_are_two_are_both_answered(target: Target) -> None:
    """What the test above would see: a pipelined request does have its effect."""
    replies = target.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN.replace(b"smuggled@", b"together@"))
    assert [reply.status for reply in replies] == [200, 201]


def test_the_whole_corpus_gets_answers_that_tell_nothing(target: Target) -> None:
    """Each is HTTP, none is a fault of ours, none repeats what it was sent, and errors are problem+json."""
    before = contents(target.database_url)
    for name, request in CASES.items():
        for reply in target.send(request):
            assert reply.whole or not reply.body, name  # the answer to HEAD has none
            assert reply.status in (100, 200, 204) or 400 <= reply.status < 500 or reply.status == 501, (name, reply.status)
            if reply.status >= 400 and reply.body:
                assert reply.fields["content-type"] == "application/problem+json", name
                assert json.loads(reply.body)["status"] == reply.status, name
                assert_tells_nothing(reply.fields, reply.body)
    assert contents(target.database_url) == before


def test_a_key_in_a_broken_field_is_not_logged(target: Target) -> None:
    """gunicorn would log the field that it refuses."""
    for broken in (b"Authorization : Bearer %b", b"Authorization: Bearer %b\x00", b"X: y\r\n Authorization: Bearer %b"):
        (reply,) = target.send(b"GET /api/users HTTP/1.1\r\nHost: a\r\n" + broken % KEY + b"\r\n\r\n")
        assert reply.status == 400
    (reply,) = target.send(b"GET /api/users?key=%b HTTP/1.1 x\r\nHost: a\r\n\r\n" % KEY)
    assert reply.status == 400
    logged = target.log.read_text()
    assert "InvalidHeaderName" in logged
    assert target.key.rpartition("_")[2] not in logged
