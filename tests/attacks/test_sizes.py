"""Too much of anything is refused before it costs: bytes, fields, parameters, members, digits, depth."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest

from tests.attacks.conftest import KEY, Target, assert_tells_nothing, contents
from tests.client import ApiClient
from tests.serving import http_status

HEAD = b"GET /api/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY + b"\r\n"
MEBIBYTE = 1 << 20
LIVELY_S = 20.0  # generous: no test asserts a speed, but a refusal must not take as long as the work

TOO_LARGE = {
    "a line of 200 kB": (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "a method of 200 kB": (b"G" * 200_000 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "10,000 parameters": (
        b"GET /api/users?" + b"&".join(b"p%d=1" % n for n in range(10_000)) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414,
    ),
    "a field of 200 kB": (HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "a name of 200 kB": (HEAD + b"X" * 200_000 + b": 1\r\n\r\n", 431),
    "20,000 fields": (HEAD + b"X: 1\r\n" * 20_000 + b"\r\n", 431),
    "101 fields": (HEAD + b"X: 1\r\n" * 99 + b"\r\n", 431),
    "a cookie of 200 kB": (HEAD + b"Cookie: " + b"a=b; " * 40_000 + b"\r\n\r\n", 431),
    "a length beyond every limit": (
        b"POST /api/users HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 99999999999999999999\r\n\r\n", 413,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_large_a_head_is_refused(target: Target, name: str) -> None:
    """One answer, the end of the connection, and the server serves on."""
    request, status = TOO_LARGE[name]
    (reply,) = target.send(request)
    assert (reply.status, json.loads(reply.body)["status"]) == (status, status)
    assert_tells_nothing(reply.fields, reply.body)
    assert http_status(f"http://127.0.0.1:{target.port}/healthz") == 200


@pytest.mark.parametrize("path", ["/api/users", "/api/users/1", "/healthz", "/api/search"])
def test_many_parameters_are_refused_before_they_are_taken_apart(api: ApiClient, path: str) -> None:
    """A server in front may let a megabyte through. Ten thousand names are neither kept nor told back."""
    query = "&".join(f"p{n}={n}" for n in range(10_000))
    api.get("/healthz")
    tracemalloc.start()
    try:
        reply = api.get(f"{path}?{query}")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (reply.status, reply.code) == (422, "invalid_input")
    assert "more than 32 parameters" in reply.json["detail"]
    assert most < 3 * MEBIBYTE  # the query itself, a few times over; its parts would take more
    assert len(reply.body) < 1000


def test_as_many_parameters_as_a_route_takes_are_fine(api: ApiClient) -> None:
    """The bound is far above."""
    assert api.get("/api/users?limit=5&email=a@b.example").status == 200
    reply = api.get("/api/users?" + "&".join(f"p{n}=1" for n in range(32)))
    assert len(reply.fields) == 32


BOMBS = {
    "a hundred thousand unknown members": b"{" + b",".join(b'"m%d":1' % n for n in range(90_000)) + b"}",
    "one member a hundred thousand times": b"{" + b",".join([b'"m":1'] * 150_000) + b"}",
    "a name of a megabyte, twice": b'{"' + b"n" * 500_000 + b'":1,"' + b"n" * 500_000 + b'":2}',
    "an unknown name of a megabyte": b'{"' + b"n" * 1_000_000 + b'":1}',
    "a hundred thousand members of metadata": (
        b'{"name":"A","email":"a@b.example","metadata":{' + b",".join(b'"m%d":1' % n for n in range(90_000)) + b"}}"
    ),
    "a hundred thousand lists side by side": b'{"metadata":[' + b",".join([b"[]"] * 300_000) + b"]}",
    "a number of a million digits": b'{"name":' + b"9" * 1_000_000 + b"}",
    "a number of 4,300 digits, often": b'{"name":[' + b",".join([b"9" * 4_300] * 240) + b"]}",
    "a number with a huge exponent": b'{"name":1e999999999}',
    "a fraction of a million digits": b'{"name":0.' + b"9" * 1_000_000 + b"}",
    "half a million escapes": b'{"name":"' + b"\\u0000" * 170_000 + b'"}',
    "a hundred thousand quotes": b'{"name":' + b'"' * 1_000_000 + b"}",
    "a hundred thousand backslashes": b'{"name":"' + b"\\" * 1_000_000 + b"}",
    "nested lists": b'{"name":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    "nested objects": b'{"name":' + b'{"a":' * 150_000 + b"1" + b"}" * 150_000 + b"}",
    "brackets that do not end": b"[" * 1_000_000,
    "white space": b" " * 1_000_000 + b"{}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_json_is_refused_in_time(api: ApiClient, database_url: str, name: str) -> None:
    """With an answer far smaller than what was sent, that tells what is wrong and nothing of us."""
    bomb = BOMBS[name]
    assert len(bomb) < MEBIBYTE  # else its length alone would be refused
    began = time.monotonic()
    reply = api.call("POST", "/api/users", raw=bomb)
    assert time.monotonic() - began < LIVELY_S
    assert reply.status in (400, 422)
    assert len(reply.body) < 4_000
    assert_tells_nothing(reply.headers, reply.body)
    assert "set_int_max" not in reply.body.decode()
    assert contents(database_url)["users"] == []
